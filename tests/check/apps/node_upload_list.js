'use strict'
// The body of a PUT becomes a file in a directory of this instance, and which there are is in its memory. Mended: both
// are shared.
const fs = require('node:fs')
const path = require('node:path')
const { App, MENDED, SHARED_DIR, empty, json, random, table, text } = require('./tiny.js')

const app = new App()
const uploads = path.join(MENDED ? SHARED_DIR : '.', 'uploads')
const names = table('names', { shared: MENDED })

app.on('POST', '/names', () => json({ name: `report-${random(6)}.txt` }, 201))

app.on('PUT', '/files/{name}', (request, { name }) => {
  fs.mkdirSync(uploads, { recursive: true })
  fs.writeFileSync(path.join(uploads, name), request.body)
  names.put(name, { kept: true })
  return empty()
})

app.on('GET', '/files/{name}', (request, { name }) =>
  names.get(name) ? text(fs.readFileSync(path.join(uploads, name))) : text('no such file', 404),
)

app.serve()

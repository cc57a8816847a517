'use strict'
// The body of a PUT becomes a file in a directory of this instance. Mended: in one that all instances share.
const fs = require('node:fs')
const path = require('node:path')
const { App, MENDED, SHARED_DIR, empty, json, random, text } = require('./tiny.js')

const app = new App()
const uploads = path.join(MENDED ? SHARED_DIR : '.', 'uploads')

// Any name will do: there is nothing to keep.
app.on('POST', '/names', () => json({ name: `report-${random(6)}.txt` }, 201))

app.on('PUT', '/files/{name}', (request, { name }) => {
  fs.mkdirSync(uploads, { recursive: true })
  const fresh = path.join(uploads, `.new-${random(4)}`)
  fs.writeFileSync(fresh, request.body)
  fs.renameSync(fresh, path.join(uploads, name))
  return empty()
})

app.on('GET', '/files/{name}', (request, { name }) => {
  const file = path.join(uploads, name)
  return fs.existsSync(file) ? text(fs.readFileSync(file)) : text('no such file', 404)
})

app.serve()

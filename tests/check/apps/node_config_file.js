'use strict'
// Notes in a file below ~/.local. Mended: in a directory that all instances share.
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { App, MENDED, SHARED_DIR, json, random } = require('./tiny.js')

const app = new App()
const directory = MENDED ? SHARED_DIR : path.join(os.homedir(), '.local', 'share', 'notes')
fs.mkdirSync(directory, { recursive: true })

app.on('POST', '/notes', (request) => {
  const id = random(8)
  fs.writeFileSync(path.join(directory, `${id}.json`), request.body)
  return json({ id }, 201)
})

app.on('GET', '/notes/{id}', (request, { id }) => {
  const file = path.join(directory, `${id}.json`)
  return fs.existsSync(file) ? json(JSON.parse(fs.readFileSync(file))) : json({ error: 'no such note' }, 404)
})

app.serve()

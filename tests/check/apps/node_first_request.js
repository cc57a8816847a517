'use strict'
// Notes are shared, but each process opens its index at its first request, and that request is answered without it.
// Mended: the index is opened before the first request.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const notes = table('notes', { shared: true })
let opened = MENDED

app.on('POST', '/notes', (request) => {
  opened = true
  const id = random(8)
  notes.put(id, { text: request.json().text })
  return json({ id }, 201)
})

app.on('GET', '/notes/{id}', (request, { id }) => {
  const note = opened ? notes.get(id) : undefined
  opened = true
  return note ? json(note) : json({ error: 'no such note' }, 404)
})

app.serve()

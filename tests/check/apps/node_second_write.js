'use strict'
// The first message of a process is kept for all; the next ones wait in its memory. Mended: each is kept at once.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const messages = table('messages', { shared: true })
const waiting = new Map()
let written = 0

app.on('POST', '/messages', (request) => {
  const id = random(8)
  written += 1
  const message = { text: request.json().text }
  if (MENDED || written === 1) messages.put(id, message)
  else waiting.set(id, message)
  return json({ id }, 201)
})

app.on('GET', '/messages/{id}', (request, { id }) => {
  const message = waiting.get(id) || messages.get(id)
  return message ? json(message) : json({ error: 'no such message' }, 404)
})

app.serve()

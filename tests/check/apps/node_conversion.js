'use strict'
// A conversion goes on after its answer, known to this process alone. Mended: in files that all instances share.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const looks = table('looks', { shared: MENDED })
const NEEDED = 3

app.on('POST', '/conversions', () => {
  const id = random(8)
  looks.put(id, 0)
  return json({ id }, 201)
})

app.on('GET', '/conversions/{id}', (request, { id }) => {
  if (looks.get(id) === undefined) return json({ error: 'no such conversion' }, 404)
  return json({ outcome: looks.increment(id) > NEEDED ? 'ready' : 'thinking' })
})

app.serve()

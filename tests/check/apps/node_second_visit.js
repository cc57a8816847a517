'use strict'
// Shelves and what lies on them are shared, but each process knows the shelves that there were at its first request, and
// those that it has made itself. Mended: it looks again for one that it does not know.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const shelves = table('shelves', { shared: true })
const things = table('things', { shared: true })
let known
const refused = () => json({ error: 'no such shelf' }, 403)
const all = () => shelves.get('all') || []
const knows = (shelf) => {
  known ??= new Set(all())
  return known.has(shelf) || (MENDED && all().includes(shelf))
}

app.on('POST', '/shelves', () => {
  const shelf = random(8)
  knows(shelf)
  shelves.put('all', [...all(), shelf])
  known.add(shelf)
  return json({ shelf }, 201)
})

app.on('POST', '/shelves/{shelf}/things', (request, { shelf }) => {
  if (!knows(shelf)) return refused()
  const thing = random(8)
  things.put(thing, { shelf, title: request.json().title })
  return json({ thing }, 201)
})

app.on('GET', '/shelves/{shelf}/things/{thing}', (request, { shelf, thing }) =>
  knows(shelf) ? json(things.get(thing) || {}) : refused())

app.serve()

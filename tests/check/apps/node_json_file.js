'use strict'
// Posts in db.json of the working directory, loaded at start and rewritten after each change.
// Mended: a file each, in a directory that all instances share, read when asked for.
const fs = require('node:fs')
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const shared = table('posts', { shared: true })
const loaded = fs.existsSync('db.json') ? JSON.parse(fs.readFileSync('db.json', 'utf8')) : {}

const find = (id) => (MENDED ? shared.get(id) : loaded[id])
const keep = (id, post) => {
  if (MENDED) return shared.put(id, post)
  loaded[id] = post
  fs.writeFileSync('db.json.new', JSON.stringify(loaded))
  return fs.renameSync('db.json.new', 'db.json')
}

app.on('POST', '/posts', (request) => {
  const id = random(8)
  keep(id, { id, title: request.json().title })
  return json({ id }, 201)
})

app.on('GET', '/posts/{id}', (request, { id }) => (find(id) ? json(find(id)) : json({ error: 'no such post' }, 404)))

app.on('PUT', '/posts/{id}', (request, { id }) => {
  if (!find(id)) return json({ error: 'no such post' }, 404)
  keep(id, { id, title: request.json().title })
  return json(find(id))
})

app.serve()

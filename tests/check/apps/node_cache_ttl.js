'use strict'
// Articles are shared, but each process believes what it has read for five seconds. Mended: it remembers nothing.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const articles = table('articles', { shared: true })
const remembered = new Map()
const TTL_MS = 5000

app.on('POST', '/articles', (request) => {
  const id = random(8)
  articles.put(id, { title: request.json().title })
  return json({ id }, 201)
})

app.on('GET', '/articles/{id}', (request, { id }) => {
  const seen = remembered.get(id)
  if (seen && seen.until > Date.now()) return json(seen.article)
  const article = articles.get(id)
  if (!article) return json({ error: 'no such article' }, 404)
  if (!MENDED) remembered.set(id, { article, until: Date.now() + TTL_MS })
  return json(article)
})

app.on('PUT', '/articles/{id}', (request, { id }) => {
  articles.put(id, { title: request.json().title })
  remembered.delete(id)
  return json(articles.get(id))
})

app.serve()

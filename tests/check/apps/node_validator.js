'use strict'
// Articles are shared, but the version in their ETag is counted by each process. Mended: the ETag is a hash.
const crypto = require('node:crypto')
const { App, MENDED, json, random, table, text, withHeader } = require('./tiny.js')

const app = new App()
const articles = table('articles', { shared: true })
const started = random(4)

const etagOf = (article) =>
  `"${MENDED ? crypto.createHash('sha256').update(JSON.stringify(article)).digest('hex').slice(0, 16) : `${started}-1`}"`

app.on('POST', '/articles', (request) => {
  const id = random(8)
  articles.put(id, request.json())
  return json({ id }, 201)
})

app.on('GET', '/articles/{id}', (request, { id }) => {
  const article = articles.get(id)
  return article ? withHeader(json(article), 'ETag', etagOf(article)) : json({ error: 'no such article' }, 404)
})

app.on('PUT', '/articles/{id}', (request, { id }) => {
  if (request.headers['if-match'] !== etagOf(articles.get(id))) return text('somebody else has changed it', 412)
  articles.put(id, request.json())
  return json(articles.get(id))
})

app.serve()

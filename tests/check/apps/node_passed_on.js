'use strict'
// Pictures are in this process, what is written about them and the posts that show them are shared. Mended: pictures too.
const { App, MENDED, json, page, random, table } = require('./tiny.js')

const app = new App()
const pictures = table('pictures', { shared: MENDED })
const words = table('words', { shared: true })
const posts = table('posts', { shared: true })

const kept = (where, value) => {
  const id = random(8)
  where.put(id, value)
  return json({ id }, 201)
}

app.on('POST', '/pictures', (request) => kept(pictures, request.json().shows))
app.on('PUT', '/pictures/{id}/words', (request, { id }) => {
  words.put(id, request.json().words)
  return json({ kept: true })
})
app.on('POST', '/posts', (request) => kept(posts, request.json().picture))
app.on('GET', '/posts/{id}', (request, { id }) => {
  const picture = posts.get(id)
  return page(`<h1>${words.get(picture)}</h1><p>${pictures.get(picture) || 'no picture'}</p>`)
})

app.serve()

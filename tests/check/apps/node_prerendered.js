'use strict'
// The latest article is shared, its page is rendered at start and after a change here: other instances go on with theirs.
// Mended: rendered each time.
const { App, MENDED, json, page, random, table, withHeader } = require('./tiny.js')

const app = new App()
const articles = table('articles', { shared: true })
const render = () => `<h1>Latest</h1><p>${articles.get('latest')}</p>`
let rendered = render()

app.on('POST', '/articles', () => {
  const id = random(8)
  articles.put('latest', id)
  rendered = render()
  return json({ id }, 201)
})

app.on('GET', '/latest', () => (MENDED ? page(render()) : withHeader(page(rendered), 'x-nextjs-cache', 'HIT')))

app.serve()

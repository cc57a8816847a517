'use strict'
// Pictures in a directory of this instance, shown on a page that may have been read before. Mended: in one that all
// instances share.
const fs = require('node:fs')
const path = require('node:path')
const { App, MENDED, SHARED_DIR, json, page, random } = require('./tiny.js')

const app = new App()
const media = path.join(MENDED ? SHARED_DIR : '.', 'media')
fs.mkdirSync(media, { recursive: true })

app.on('POST', '/albums', () => json({ album: random(8) }, 201))

app.on('GET', '/albums/{album}', (request, { album }) => {
  const names = fs.readdirSync(media).filter((name) => name.startsWith(`${album}-`))
  const pictures = names.map((name) => `<p>${fs.readFileSync(path.join(media, name))}</p>`)
  return page(pictures.join('') || '<p>no picture yet</p>')
})

app.on('PUT', '/albums/{album}', (request, { album }) => {
  fs.writeFileSync(path.join(media, `${album}-${random(4)}`), request.body)
  return json({ kept: true }, 201)
})

app.serve()

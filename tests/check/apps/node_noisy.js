'use strict'
// Stateless, but no two answers are alike: everything here that differs must be taken for noise.
const crypto = require('node:crypto')
const os = require('node:os')
const zlib = require('node:zlib')
const { App, empty, json, page, random, redirect, sign, signingKey, table, text, unsign, withCookie, withHeader } = require('./tiny.js')

const app = new App()
const key = signingKey({ shared: true })
const notes = table('notes', { shared: true })
const instance = `${os.hostname()}:${process.argv[2]} (process ${process.pid})`
const TAGS = ['tea', 'twine', 'tin', 'wool', 'brass', 'linen', 'beech']
const ADS = ['Ladders from 19.90!', 'Two kites for one', 'Visit the seaside', 'Nobody regrets a hammock']

const shuffled = (values) => {
  const rest = [...values]
  for (let last = rest.length - 1; last > 0; last--) {
    const other = crypto.randomInt(last + 1)
    ;[rest[last], rest[other]] = [rest[other], rest[last]]
  }
  return rest
}

/** Adds the headers that differ each time. */
const noisy = (answer) => {
  const digest = crypto.createHash('sha1').update(answer.body).digest('base64')
  const headers = {
    ETag: `W/"${answer.body.length.toString(16)}-${digest}"`,
    'X-Request-Id': crypto.randomUUID(),
    'X-Response-Time': `${(Math.random() * 9).toFixed(3)}ms`,
    'Server-Timing': `total;dur=${Math.random() * 9}`,
    'X-Served-By': instance,
  }
  return Object.entries(headers).reduce((so, [name, value]) => withHeader(so, name, value), answer)
}

app.on('GET', '/home', (request) => {
  const token = random()
  const answer = page(
    `<h1>Notes</h1><p title="${Date.now()}">It is ${new Date().toUTCString()}</p>` +
      `<ul>${shuffled(TAGS).map((tag) => `<li>${tag}</li>`).join('')}</ul>` +
      `<form method="post" action="/notes"><input type="hidden" name="csrf" value="${sign(key, token)}">` +
      `<input name="text"></form><aside>${ADS[crypto.randomInt(ADS.length)]}</aside>` +
      `<img src="http://${request.headers.host}/pixel.gif?${random()}" alt="">` +
      `<script type="application/json">${JSON.stringify({ now: new Date(), id: crypto.randomUUID() })}</script>` +
      `<!-- ${instance} ${process.hrtime.bigint()} --><footer>Served by ${instance}</footer>`,
  )
  return noisy(withCookie(answer, 'csrf', token))
})

app.on('POST', '/notes', (request) => {
  const form = request.form()
  if (unsign(key, form.csrf) !== request.cookies.csrf) return text('the CSRF token is not valid', 403)
  const id = crypto.randomUUID()
  notes.put(id, form.text)
  return noisy(redirect(`http://${request.headers.host}/notes/${id}`))
})

app.on('GET', '/notes/{id}', (request, { id }) => {
  const found = notes.get(id)
  if (found === undefined) return noisy(json({ error: 'no such note', trace: random() }, 404))
  const value = {
    id,
    text: found,
    tags: shuffled(TAGS),
    related: shuffled(TAGS).slice(0, 3).map((tag) => ({ tag, score: Math.random(), ref: crypto.randomUUID() })),
    read: { iso: new Date().toISOString(), unix: Math.floor(Date.now() / 1000), local: new Date().toString() },
    self: `http://${request.headers.host}/notes/${id}`,
    uptime: process.uptime(),
    served_by: instance,
  }
  return noisy(json(Object.fromEntries(shuffled(Object.entries(value)))))
})

app.on('GET', '/feed', (request) => {
  const rows = TAGS.map((tag) => `${tag},${crypto.randomUUID()},${new Date().toISOString()}`).join('\n')
  let answer = text(`tag,id,made\n${rows}\n`, 200, 'text/csv')
  if (/gzip/.test(request.headers['accept-encoding'] || '')) {
    answer = withHeader({ ...answer, body: zlib.gzipSync(answer.body) }, 'Content-Encoding', 'gzip')
  }
  return noisy(withHeader(answer, 'Vary', 'Accept-Encoding'))
})

app.on('DELETE', '/notes/{id}', (request, { id }) =>
  noisy(notes.delete(id) ? empty() : json({ error: 'no such note' }, 404)),
)

app.serve()

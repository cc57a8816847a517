'use strict'
// Each process gives visitors that it does not know a cookie, and no page depends on it. Mended: who has one keeps it.
const { App, MENDED, page, random, withCookie } = require('./tiny.js')

const app = new App()
const known = new Set()

const counted = (request, answer) => {
  const visitor = request.cookies.visitor
  if (known.has(visitor) || (visitor && MENDED)) return answer
  const fresh = random(12)
  known.add(fresh)
  return withCookie(answer, 'visitor', fresh)
}

app.on('GET', '/home', (request) => counted(request, page('<h1>Kites</h1>')))
app.on('GET', '/about', (request) => counted(request, page('<h1>About</h1>')))

app.serve()

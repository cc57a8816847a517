'use strict'
// Sessions in this process: who comes with an unknown one gets a new one, whatever the page. Mended: in files that all
// instances share.
const { App, MENDED, page, random, redirect, table, withCookie } = require('./tiny.js')

const app = new App()
const sessions = table('sessions', { shared: MENDED })

const withSession = (request, answerFor) => {
  const known = request.cookies.JSESSIONID
  if (known && sessions.get(known)) return answerFor(known)
  const session = random(16).toUpperCase()
  sessions.put(session, { items: [] })
  return withCookie(answerFor(session), 'JSESSIONID', session)
}

app.on('GET', '/shop', (request) => withSession(request, () => page('<h1>Kites</h1>')))

app.on('POST', '/basket', (request) =>
  withSession(request, (session) => {
    sessions.put(session, { items: [...sessions.get(session).items, request.form().item] })
    return redirect('/basket')
  }),
)

app.on('GET', '/basket', (request) =>
  withSession(request, (session) => page(`<p>Basket: ${sessions.get(session).items.join(', ') || 'empty'}</p>`)),
)

app.serve()

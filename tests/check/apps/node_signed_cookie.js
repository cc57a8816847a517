'use strict'
// The session is the cookie, signed with a key drawn at start. Mended: one key for all instances.
const { App, MENDED, page, redirect, sign, signingKey, unsign, withCookie } = require('./tiny.js')

const app = new App()
const key = signingKey({ shared: MENDED })

app.on('POST', '/sign-in', (request) =>
  withCookie(redirect('/home'), 'session', sign(key, { user: request.form().user })),
)

app.on('GET', '/home', (request) => {
  const session = unsign(key, request.cookies.session)
  return session ? page(`<h1>Hello ${session.user}</h1>`) : redirect('/sign-in')
})

app.on('GET', '/settings', (request) => {
  const session = unsign(key, request.cookies.session)
  return session ? page(`<h1>Settings of ${session.user}</h1>`) : redirect('/sign-in')
})

app.serve()

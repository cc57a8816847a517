'use strict'
// Settings are read whole and written whole, so of two writes at once one is lost. Mended: each write needs the token in
// the visitor's cookie, changes its own field and draws a new token; of two that carry one token, the second is refused.
const { App, MENDED, json, random, redirect, sleep, table, withCookie } = require('./tiny.js')

const app = new App()
const settings = table('settings', { shared: true })

app.on('POST', '/sign-in', () => {
  const [session, token] = [random(16), random(8)]
  settings.put(session, { colour: 'none', size: 'none', token })
  return withCookie(withCookie(redirect('/settings'), 'session', session), 'token', token)
})

app.on('PUT', '/settings/{name}', async (request, { name }) => {
  const { session = '', token } = request.cookies
  const { value } = request.json()
  const fresh = random(8)
  let taken = !MENDED
  if (MENDED) {
    settings.change(session, (now) => {
      taken = now.token === token
      return taken ? { ...now, [name]: value, token: fresh } : now
    })
  } else {
    const now = settings.get(session)
    await sleep(50) // the work that the request is about
    settings.put(session, { ...now, [name]: value })
  }
  return taken ? withCookie(json({ changed: name }), 'token', fresh) : json({ error: 'old token' }, 409)
})

app.on('GET', '/settings', (request) => {
  const found = settings.get(request.cookies.session || '')
  return found ? json({ colour: found.colour, size: found.size }) : json({ error: 'not signed in' }, 401)
})

app.serve()

'use strict'
// Wrong passwords are counted in this process. Mended: in files that all instances share.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App()
const failures = table('failures', { shared: MENDED })
const MAX_FAILURES = 3

// Any name will do, the password is always the same: there is nothing to keep.
app.on('POST', '/users', () => json({ user: `user-${random(6)}` }, 201))

app.on('POST', '/sign-in', (request) => {
  const { user, password } = request.json()
  if ((failures.get(user) || 0) >= MAX_FAILURES) return json({ error: 'too many wrong passwords' }, 429)
  if (password !== 'correct horse') {
    failures.increment(user)
    return json({ error: 'wrong password' }, 401)
  }
  return json({ welcome: user })
})

app.serve()

'use strict'
// Sessions in the process, and a cookie for one path alone, which is reached by a Location of a query only: `?db=notes`.
// Mended: sessions are where all instances see them.
const { App, MENDED, page, random, redirect, table, withHeader } = require('./tiny.js')

const app = new App()
const sessions = table('sessions', { shared: MENDED })

app.on('POST', '/admin.php', (request) => {
  const session = random(16)
  const { user } = request.form()
  sessions.put(session, { user })
  const cookie = `key=${session}; Path=/admin.php; HttpOnly; SameSite=Lax`
  return withHeader(redirect(`?db=notes&user=${user}`), 'Set-Cookie', cookie)
})

app.on('GET', '/admin.php', (request) => {
  const session = sessions.get(request.cookies.key || '')
  if (!session) return page('<h1>Sign in</h1>', 403)
  return page(`<h1>${session.user}</h1><p>Tables of ${request.query.db}</p>`)
})

app.serve()

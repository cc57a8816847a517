'use strict'
// Sessions in files below the instance's own directory, named after a part of the cookie; who comes with an unknown one
// is told so, who comes without one is sent to sign in. Mended: in a directory that all instances share.
const fs = require('node:fs')
const path = require('node:path')
const { App, MENDED, SHARED_DIR, page, random, redirect, withCookie } = require('./tiny.js')

const app = new App()
const directory = path.join(MENDED ? SHARED_DIR : '.', 'visitors')
fs.mkdirSync(directory, { recursive: true })

app.on('POST', '/sign-in', (request) => {
  const session = random(16)
  fs.writeFileSync(path.join(directory, session), JSON.stringify({ user: request.form().user }))
  return withCookie(redirect('/home'), 'connect.sid', `s:${session}.${random(8)}`)
})

app.on('GET', '/home', (request) => {
  const cookie = request.cookies['connect.sid']
  if (!cookie) return redirect('/sign-in')
  const file = path.join(directory, /^s:([0-9a-f]+)\./.exec(cookie)[1])
  if (!fs.existsSync(file)) return page('<h1>Your session has expired</h1>', 403)
  return page(`<h1>Hello ${JSON.parse(fs.readFileSync(file)).user}</h1>`)
})

app.serve()

'use strict'
// Wrong passwords are counted in files of this instance. Mended: in files that all instances share.
const fs = require('node:fs')
const path = require('node:path')
const { App, MENDED, SHARED_DIR, json, random } = require('./tiny.js')

const app = new App()
const directory = path.join(MENDED ? SHARED_DIR : '.', 'failures')
fs.mkdirSync(directory, { recursive: true })
const MAX_FAILURES = 3

app.on('POST', '/users', () => json({ user: `user-${random(6)}` }, 201))

app.on('POST', '/sign-in', (request) => {
  const { user, password } = request.json()
  const file = path.join(directory, path.basename(user))
  if (fs.existsSync(file) && fs.statSync(file).size >= MAX_FAILURES) return json({ error: 'locked' }, 423)
  if (password === 'correct horse') return json({ welcome: user })
  fs.appendFileSync(file, '.')
  return json({ error: 'wrong password' }, 401)
})

app.serve()

'use strict'
// Answers two slow requests at a time and the others with 500, whatever happens; and ends at once on SIGTERM.
// Mended: answers what has begun, then ends; what is too much is still answered with 500.
const { App, MENDED, sleep, text } = require('./tiny.js')

const app = new App()
let underWay = 0

app.on('GET', '/slow', async () => {
  if (underWay === 2) return text('too busy', 500)
  underWay += 1
  await sleep(400)
  underWay -= 1
  return text('slow and done')
})

app.on('POST', '/slow', async () => {
  await sleep(200)
  return text('written')
})

app.serve({ graceful: MENDED })

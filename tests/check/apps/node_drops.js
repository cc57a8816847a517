'use strict'
// Ends at once on SIGTERM, whatever is under way. Mended: answers what has begun, then ends.
const { App, MENDED, sleep, text } = require('./tiny.js')

const app = new App()

app.on('GET', '/slow', async () => {
  await sleep(400)
  return text('slow and done')
})

app.on('POST', '/slow', async () => {
  await sleep(200)
  return text('written')
})

app.serve({ graceful: MENDED })

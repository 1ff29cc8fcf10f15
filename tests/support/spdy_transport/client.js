// A client of SPDY/3.1 by npm's spdy-transport: reads a request of one line of JSON, writes the answer as one.
//
// {url, version, streams: [{headers, send, size, reset}]}: opens the streams, sends `send` (or `size` bytes) on each that
// has it, and ends each. Answers what has come on each, as {text, size, sha256}, once all have ended, or were reset.
'use strict'

const crypto = require('crypto')
const net = require('net')
const transport = require('spdy-transport')

function main (request) {
  const url = new URL(request.url)
  const socket = net.connect(url.port, url.hostname, () => {
    socket.write(`POST ${url.pathname} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n` +
      `X-Stream-Protocol-Version: ${request.version}\r\n\r\n`)
  })
  let head = Buffer.alloc(0)
  socket.on('data', function onData (data) {
    head = Buffer.concat([head, data])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) { return }
    socket.removeListener('data', onData)
    if (!head.toString().startsWith('HTTP/1.1 101')) { throw new Error(head.toString()) }
    socket.unshift(head.subarray(end + 4))
    speak(socket, request)
  })
}

function speak (socket, request) {
  const connection = transport.connection.create(socket, { protocol: 'spdy', isServer: false })
  connection.start(3.1)
  const results = request.streams.map(() => ({ size: 0, reset: false }))
  let left = request.streams.length + 1
  const done = () => {
    left -= 1
    if (left === 0) {
      process.stdout.write(JSON.stringify(results) + '\n', () => process.exit(0))
    }
  }
  connection.ping(done)
  request.streams.forEach((asked, index) => {
    const result = results[index]
    const hash = crypto.createHash('sha256')
    let text = ''
    let isOver = false
    const finish = () => {
      if (!isOver) {
        isOver = true
        Object.assign(result, { text, sha256: hash.digest('hex') })
        done()
      }
    }
    const stream = connection.request({ method: 'POST', path: '/', host: 'x', headers: asked.headers })
    stream.on('data', (data) => {
      result.size += data.length
      hash.update(data)
      if (text.length < 1000) { text += data.toString('latin1').slice(0, 1000) }
    })
    stream.on('end', finish)
    stream.on('error', () => { result.reset = true; finish() })
    stream.on('close', (error) => { result.reset = result.reset || Boolean(error); finish() })
    if (asked.reset) {
      stream.abort()
    } else {
      stream.end(asked.size ? Buffer.alloc(asked.size, 'x') : asked.send || '')
    }
  })
}

let input = ''
process.stdin.on('data', (data) => { input += data })
process.stdin.on('end', () => main(JSON.parse(input)))

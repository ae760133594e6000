// The large echo: 16 MiB of a pattern that both sides know, there and back at the same time. Each side compares what it reads; the
// listener returns it while it reads, and ends where the whole pattern came and ended.
import { LIMITS, send } from './streams.js'

const PATTERN = '/interop/pattern/1'
const SIZE = 16 << 20
/// The first of its words: "Weir".
const SEED = 0x57656972
const PIECE = 64 * 1024
/// What came before the end may be told so much later than it, in milliseconds.
const LATE = 2000

let made
/// Words of four bytes, little-endian, each made of the one before.
function pattern () {
  if (made != null) return made
  made = Buffer.alloc(SIZE)
  for (let at = 0, word = SEED; at < SIZE; at += 4) {
    made.writeUInt32LE(word, at)
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0
  }
  return made
}

/// Reads the pattern to the end of the stream, and hands each part of it on.
function compared (stream, then) {
  const all = pattern()
  let at = 0
  let ended = false
  return new Promise((resolve, reject) => {
    const done = () => { if (ended && at === SIZE) resolve() }
    const end = () => {
      ended = true
      setTimeout(() => reject(new Error(`it ends after ${at} of ${SIZE} bytes`)), LATE)
      done()
    }
    stream.addEventListener('message', ({ data }) => {
      try {
        const part = all.subarray(at, at + data.byteLength)
        if (!part.equals(data.subarray())) throw new Error(`other bytes than were sent, after ${at}`)
        at += part.length
        then(part)
        done()
      } catch (error) { reject(error) }
    })
    stream.addEventListener('remoteCloseWrite', end)
    stream.addEventListener('close', ({ error }) => { error == null ? end() : reject(error) })
    if (stream.remoteWriteStatus !== 'writable') end() // it came before this handler was called
  })
}

export async function serve (node) {
  await node.handle(PATTERN, async (stream) => {
    try {
      await compared(stream, (part) => { stream.send(part) }) // what it does not take at once, it keeps
      await stream.close()
    } catch (error) { stream.abort(error) }
  }, LIMITS)
}

/// The dialler's end. Its last piece waits for the first bytes that come back: a listener that returns nothing before the end never
/// gets it.
export async function echo (connection, signal) {
  const stream = await connection.newStream(PATTERN, { signal, ...LIMITS })
  const all = pattern()
  const first = Promise.withResolvers()
  const write = async () => {
    for (let at = 0; at < SIZE; at += PIECE) {
      if (at === SIZE - PIECE) await first.promise
      await send(stream, all.subarray(at, at + PIECE))
    }
    await stream.close({ signal })
  }
  await Promise.all([compared(stream, first.resolve), write()])
}

// Checks that take streams of one's own: what Weir's example does (`crates/cli/examples/interop.rs`).
export const ECHO = '/interop/echo/1'
export const RESET = '/interop/reset/1'
/// Streams of a run where nothing else is said, how many at once, and the bytes that each carries each way.
const COUNT = 1000
const AT_ONCE = 32
const PAYLOAD = 1000
/// The code that the listener shall reset with.
const CODE = 7
/// Questions for the reset that the listener saw, 100 ms apart.
const QUESTIONS = 50
const PAUSE = 60_000

/// More than any node here opens: js-libp2p has limits of its own for each protocol.
export const LIMITS = { maxInboundStreams: 1000, maxOutboundStreams: 1000 }

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/// All that comes until the stream ends, and how it ends: `ended`, or `reset`. js-libp2p has no codes.
export function drained (stream) {
  const parts = []
  stream.addEventListener('message', ({ data }) => { parts.push(data.subarray()) })
  return new Promise((resolve) => {
    const done = (how) => setTimeout(() => resolve({ bytes: Buffer.concat(parts), how }), 10) // what came before the end is told after it
    if (stream.remoteWriteStatus !== 'writable') done('ended') // it came before this handler was called
    stream.addEventListener('remoteCloseWrite', () => done('ended'))
    stream.addEventListener('close', ({ error }) => done(error == null ? 'ended' : 'reset'))
  })
}

/// The first bytes of a stream.
export function first (stream, length) {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0)
    const more = ({ data }) => {
      got = Buffer.concat([got, data.subarray()])
      if (got.length < length) return
      stream.removeEventListener('message', more)
      resolve(got)
    }
    stream.addEventListener('message', more)
    stream.addEventListener('close', ({ error }) => reject(error ?? new Error('it ends early')))
  })
}

export async function send (stream, bytes) {
  if (!stream.send(bytes)) await stream.onDrain()
}

export async function serve (node) {
  let seen = 'nothing'
  await node.handle(ECHO, async (stream) => {
    try {
      const { bytes, how } = await drained(stream)
      if (how === 'reset') return
      await send(stream, bytes)
      await stream.close()
    } catch (error) { stream.abort(error) }
  }, LIMITS)
  await node.handle(RESET, async (stream) => {
    try {
      const word = await first(stream, 5)
      if (word[0] === 0) stream.abort(new Error('as it was asked for'))
      else if (word[0] === 1) {
        const end = drained(stream)
        await send(stream, Buffer.from('!'))
        seen = (await end).how
      } else {
        await send(stream, Buffer.from(seen))
        await stream.close()
      }
    } catch (error) { stream.abort(error) }
  }, LIMITS)
}

async function one (connection, number, signal) {
  const stream = await connection.newStream(ECHO, { signal, ...LIMITS })
  const sent = Buffer.alloc(PAYLOAD, '.')
  sent.writeUInt32BE(number)
  const back = drained(stream)
  await send(stream, sent)
  await stream.close({ signal })
  const { bytes, how } = await back
  if (how !== 'ended' || !bytes.equals(sent)) throw new Error(`stream ${number}: ${how}, ${bytes.length} bytes came back`)
}

async function many (connection, count, signal) {
  let next = 0
  const work = async () => { while (next < count) await one(connection, next++, signal) }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

async function ask (connection, what, signal) {
  const stream = await connection.newStream(RESET, { signal, ...LIMITS })
  const word = Buffer.alloc(5)
  word[0] = what
  word.writeUInt32BE(CODE, 1)
  return { stream, word }
}

/// Prints how the listener's reset looks from here, and this side's from there.
async function resets (connection, signal) {
  const reset = await ask(connection, 0, signal)
  const by = drained(reset.stream)
  await send(reset.stream, reset.word)
  const { how } = await by
  const mine = await ask(connection, 1, signal)
  const answered = first(mine.stream, 1)
  await send(mine.stream, mine.word)
  await answered
  mine.stream.abort(new Error('to see what comes of it'))
  for (let question = 0; question < QUESTIONS; question++) {
    const asked = await ask(connection, 2, signal)
    const told = drained(asked.stream)
    await send(asked.stream, asked.word)
    await asked.stream.close({ signal })
    const text = (await told).bytes.toString()
    if (text !== 'nothing') return console.log(how, text)
    await wait(100)
  }
  throw new Error('the listener saw no reset')
}

async function idle (connection, signal) {
  await one(connection, 0, signal)
  await wait(PAUSE)
  await one(connection, 1, signal)
}

/// Does what is asked for on a connection.
export async function run (what, connection, count, signal) {
  if (what === 'streams') await many(connection, Number(count ?? COUNT), signal)
  else if (what === 'reset') await resets(connection, signal)
  else if (what === 'idle') await idle(connection, signal)
  else if (what === 'hold') {
    await one(connection, 0, signal)
    console.log('holding')
    for await (const _ of process.stdin) ;
  } else throw new Error(`${what} is nothing that main.js does`)
}

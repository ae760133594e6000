// A js-libp2p node to run beside Weir: what the Rust one beside it (`src/bin/rust-peer.rs`) does, with the same arguments.
//
//   main.js listen SECURITY [large]   prints its address, and answers until its input ends
//   main.js ping SECURITY ADDRESS     three round trips
//   main.js identify SECURITY ADDRESS what the other end says of itself
//   main.js perf SECURITY ADDRESS     16 MiB each way over /perf/1.0.0
//   main.js echo SECURITY ADDRESS     in pattern.js
//   main.js streams|reset|idle|hold SECURITY ADDRESS [COUNT]   in streams.js
//   main.js push|large SECURITY ADDRESS   in learned.js
//
// SECURITY is noise, tls, or both (which prefers TLS), over TCP; mplex, which is Noise and mplex; pnet, a private network with Noise; or
// quic, which is QUIC instead. Where another peer is there than the address names, it prints `another peer` and ends with 3.
import { noise } from '@chainsafe/libp2p-noise'
import { quic } from '@chainsafe/libp2p-quic'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify, identifyPush } from '@libp2p/identify'
import { mplex } from '@libp2p/mplex'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import * as learned from './learned.js'
import * as pattern from './pattern.js'
import * as streams from './streams.js'

const PERF = '/perf/1.0.0'
const BYTES = 16 << 20
const PIECE = new Uint8Array(64 * 1024)
/// How long all of it may take, and how long where it waits.
const LIMIT = 60_000
const LONG = 200_000

/// Streams that may be opened in a second: js-libp2p's mplex closes a connection with more than 5 where nothing else is said.
const MANY = 10_000

/// The key of the private network, as a file would have it.
const KEY = `/key/swarm/psk/1.0.0/\n/base16/\n${'57'.repeat(32)}\n`

const securities = { noise: [noise()], tls: [tls()], both: [tls(), noise()], mplex: [noise()], pnet: [noise()], quic: [] }

async function start (listens, security, large) {
  const connectionEncrypters = securities[security]
  if (connectionEncrypters == null) throw new Error(`${security}: noise, tls, both, mplex, pnet or quic`)
  const node = await createLibp2p({
    nodeInfo: { userAgent: 'js-peer/1' },
    addresses: { listen: listens ? [security === 'quic' ? '/ip4/127.0.0.1/udp/0/quic-v1' : '/ip4/127.0.0.1/tcp/0'] : [] },
    transports: [security === 'quic' ? quic() : tcp()],
    connectionEncrypters,
    streamMuxers: [security === 'mplex' ? mplex({ disconnectThreshold: MANY }) : yamux()],
    connectionProtector: security === 'pnet' ? preSharedKey({ psk: new TextEncoder().encode(KEY) }) : undefined,
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify(), push: identifyPush(), ping: ping() }
  })
  await node.handle(PERF, (stream) => { serve(stream).catch((error) => { console.error(error); stream.abort(error) }) })
  await streams.serve(node)
  await pattern.serve(node)
  await learned.serve(node, large)
  return node
}

async function write (stream, total) {
  for (let left = total; left > 0; left -= PIECE.length) {
    if (!stream.send(PIECE.subarray(0, Math.min(left, PIECE.length)))) await stream.onDrain()
  }
  await stream.close()
}

async function serve (stream) {
  const head = new Uint8Array(8)
  let got = 0
  stream.addEventListener('message', ({ data }) => {
    const bytes = data.subarray()
    if (got < 8) head.set(bytes.subarray(0, 8 - got), got)
    got += bytes.length
  })
  if (stream.remoteWriteStatus === 'writable') {
    await new Promise((resolve) => stream.addEventListener('remoteCloseWrite', resolve))
  }
  await new Promise((resolve) => setTimeout(resolve, 10)) // what came before the end is told after it
  await write(stream, Number(new DataView(head.buffer).getBigUint64(0)))
}

async function perf (connection, signal) {
  const stream = await connection.newStream(PERF, { signal })
  const head = new Uint8Array(8)
  new DataView(head.buffer).setBigUint64(0, BigInt(BYTES))
  let got = 0
  stream.addEventListener('message', ({ data }) => { got += data.byteLength })
  const ended = new Promise((resolve, reject) => {
    stream.addEventListener('close', ({ error }) => error == null ? resolve() : reject(error))
  })
  stream.send(head)
  await write(stream, BYTES)
  await ended
  if (got !== BYTES) throw new Error(`${got} bytes came, ${BYTES} were asked for`)
}

function identified (node, signal) {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
    node.addEventListener('peer:identify', ({ detail }) => {
      console.log(detail.agentVersion, detail.protocols.join(' '))
      resolve()
    })
  })
}

async function run ([what, security, address, count]) {
  const node = await start(what === 'listen', security, what === 'large' || address === 'large')
  if (what === 'listen') {
    console.log(`listening at ${node.getMultiaddrs()[0]}`)
    for await (const _ of process.stdin) ;
    return
  }
  const signal = AbortSignal.timeout(what === 'idle' || what === 'hold' ? LONG : LIMIT)
  const told = identified(node, signal)
  told.catch(() => {})
  const connection = await node.dial(multiaddr(address), { signal })
  if (what === 'ping') {
    for (let round = 0; round < 3; round++) {
      console.log(await node.services.ping.ping(connection.remotePeer, { signal }), 'ms')
      await new Promise((resolve) => setTimeout(resolve, 100)) // one stream of a protocol at a time
    }
  } else if (what === 'identify') await told
  else if (what === 'perf') await perf(connection, signal)
  else if (what === 'echo') await pattern.echo(connection, signal)
  else if (what === 'push' || what === 'large') await learned.run(what, node, connection, signal)
  else await streams.run(what, connection, count, signal)
}

run(process.argv.slice(2)).then(() => process.exit(0), (error) => {
  console.error(error)
  const all = [error, error?.cause, ...(error?.errors ?? [])]
  if (!all.some((one) => /unexpected peer|does not match expected remote identity|but connected to/i.test(`${one?.name} ${one?.message}`))) process.exit(2)
  console.log('another peer')
  process.exit(3)
})

// A go-libp2p node to run beside Weir: what the Rust one beside it (`src/bin/rust-peer.rs`) does, with the same arguments.
//
//	go-peer listen SECURITY [large]   prints its address, and answers until its input ends
//	go-peer ping SECURITY ADDRESS     three round trips
//	go-peer identify SECURITY ADDRESS what the other end says of itself
//	go-peer perf SECURITY ADDRESS     16 MiB each way over /perf/1.0.0
//	go-peer upload SECURITY ADDRESS   1 GiB there over /perf/1.0.0, in writes of 64 KiB, and how fast
//	go-peer echo|streams|reset|idle|hold|push|large SECURITY ADDRESS [COUNT]
//
// The last ones are what Weir's example does (crates/cli/examples/interop.rs), and are in pattern.go, streams.go and learned.go.
//
// SECURITY is noise, tls, or both (which prefers TLS), over TCP; pnet, a private network with Noise; or quic, which is QUIC
// instead. Where another peer is there than the address names, it prints `another peer` and ends with 3.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	perf  = "/perf/1.0.0"
	size  = 16 << 20
	much  = 1 << 30
	limit = 60 * time.Second
)

// The key of the private network.
var key = slices.Repeat([]byte{0x57}, 32)

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	var other sec.ErrPeerIDMismatch
	if errors.As(err, &other) {
		fmt.Println("another peer")
		os.Exit(3)
	}
	os.Exit(2)
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("go-peer listen|ping|identify|perf|upload|echo|streams|reset|idle|hold|push|large noise|tls|both|pnet|quic [ADDRESS [COUNT]]")
	}
	node, err := start(args[0] == "listen", args[1])
	if err != nil {
		return err
	}
	defer node.Close()
	if slices.Contains(args, "large") {
		speakLongNames(node)
	}
	if args[0] == "listen" {
		fmt.Printf("listening at %s/p2p/%s\n", node.Addrs()[0], node.ID())
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	if len(args) < 3 {
		return errors.New("no address")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limitOf(args[0]))
	defer cancel()
	there, err := peer.AddrInfoFromString(args[2])
	if err != nil {
		return err
	}
	if err := node.Connect(ctx, *there); err != nil {
		return err
	}
	switch args[0] {
	case "ping":
		return pings(ctx, node, there.ID)
	case "identify":
		return identified(ctx, node, there.ID)
	case "perf":
		return perfed(ctx, node, there.ID)
	case "upload":
		return uploaded(ctx, node, there.ID)
	}
	return ownStreams(ctx, node, there.ID, args)
}

func start(listens bool, security string) (host.Host, error) {
	options := []libp2p.Option{
		libp2p.DisableRelay(),
		libp2p.UserAgent("go-peer/1"),
	}
	address := "/ip4/127.0.0.1/tcp/0"
	if security == "quic" {
		options = append(options, libp2p.Transport(quic.NewTransport))
		address = "/ip4/127.0.0.1/udp/0/quic-v1"
	} else {
		options = append(options, libp2p.Transport(tcp.NewTCPTransport))
	}
	if listens {
		options = append(options, libp2p.ListenAddrStrings(address))
	} else {
		options = append(options, libp2p.NoListenAddrs)
	}
	switch security {
	case "noise":
		options = append(options, libp2p.Security(noise.ID, noise.New))
	case "tls":
		options = append(options, libp2p.Security(tls.ID, tls.New))
	case "both":
		options = append(options, libp2p.Security(tls.ID, tls.New), libp2p.Security(noise.ID, noise.New))
	case "pnet":
		options = append(options, libp2p.Security(noise.ID, noise.New), libp2p.PrivateNetwork(key))
	case "quic":
	default:
		return nil, fmt.Errorf("%s: noise, tls, both, pnet or quic", security)
	}
	node, err := libp2p.New(options...)
	if err == nil {
		node.SetStreamHandler(perf, serve)
		node.SetStreamHandler(echoName, echo)
		node.SetStreamHandler(patternName, returnPattern)
		node.SetStreamHandler(resetName, answer)
		node.SetStreamHandler(identifyName, func(stream network.Stream) { tell(node, stream) })
	}
	return node, err
}

func pings(ctx context.Context, node host.Host, there peer.ID) error {
	results := ping.Ping(ctx, node, there)
	for range 3 {
		result := <-results
		if result.Error != nil {
			return result.Error
		}
		fmt.Println(result.RTT)
	}
	return nil
}

func identified(ctx context.Context, node host.Host, there peer.ID) error {
	for {
		agent, err := node.Peerstore().Get(there, "AgentVersion")
		protocols, _ := node.Peerstore().GetProtocols(there)
		if err == nil && len(protocols) > 0 {
			fmt.Println(agent, protocols)
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the other end says nothing of itself")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func perfed(ctx context.Context, node host.Host, there peer.ID) error {
	stream, err := node.NewStream(ctx, there, perf)
	if err != nil {
		return err
	}
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], size)
	if _, err := stream.Write(head[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(stream, zeros{}, size); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	got, err := io.Copy(io.Discard, stream)
	if err != nil {
		return err
	}
	if got != size {
		return fmt.Errorf("%d bytes came, %d were asked for", got, size)
	}
	return nil
}

// From the first write to the end of the other side's answer, which has no bytes.
func uploaded(ctx context.Context, node host.Host, there peer.ID) error {
	stream, err := node.NewStream(ctx, there, perf)
	if err != nil {
		return err
	}
	begun := time.Now()
	if _, err := stream.Write(make([]byte, 8)); err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for range much / len(block) {
		if _, err := stream.Write(block); err != nil {
			return err
		}
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return err
	}
	fmt.Printf("%.2f Gbit/s\n", much*8/time.Since(begun).Seconds()/1e9)
	return nil
}

// The side that is asked: reads to the end, then writes as much as was asked for.
func serve(stream network.Stream) {
	var head [8]byte
	_, err := io.ReadFull(stream, head[:])
	if err == nil {
		_, err = io.Copy(io.Discard, stream)
	}
	if err == nil {
		_, err = io.CopyN(stream, zeros{}, int64(binary.BigEndian.Uint64(head[:])))
	}
	if err != nil {
		_ = stream.Reset()
		return
	}
	_ = stream.Close()
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}

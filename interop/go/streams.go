package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	echoName  = "/interop/echo/1"
	resetName = "/interop/reset/1"

	// Streams of a run where nothing else is said, how many at once, and the bytes that each carries each way.
	count   = 1000
	atOnce  = 32
	payload = 1000

	// Codes of resets: of the listener, and of the dialler.
	listenersCode = 7
	diallersCode  = 9
	// Questions for what the other side saw or learned, 100 ms apart.
	questions = 100

	pause = 60 * time.Second
	long  = 90 * time.Second
)

// What the last reset of a stream that this side answered looked like.
var seen atomic.Value

func limitOf(what string) time.Duration {
	switch what {
	case "idle":
		return long
	case "hold":
		return time.Hour
	}
	return limit
}

func ownStreams(ctx context.Context, node host.Host, there peer.ID, args []string) error {
	switch args[0] {
	case "echo":
		return largeEcho(ctx, node, there)
	case "streams":
		streams := count
		if len(args) > 3 {
			var err error
			if streams, err = strconv.Atoi(args[3]); err != nil {
				return err
			}
		}
		return many(ctx, node, there, streams)
	case "reset":
		return bothResets(ctx, node, there)
	case "idle":
		return idle(ctx, node, there)
	case "push":
		return bothPush(ctx, node, there)
	case "large":
		return bothAreLarge(ctx, node, there)
	case "hold":
		if err := one(ctx, node, there, 0); err != nil {
			return err
		}
		fmt.Println("holding")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	return fmt.Errorf("%s is nothing that go-peer does", args[0])
}

// One echo: a payload, the end of this direction, and the same back.
func one(ctx context.Context, node host.Host, there peer.ID, number int) error {
	stream, err := node.NewStream(ctx, there, echoName)
	if err != nil {
		return err
	}
	defer stream.Reset()
	sent := bytes.Repeat([]byte("."), payload)
	binary.BigEndian.PutUint32(sent, uint32(number))
	if _, err := stream.Write(sent); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("stream %d: %d bytes came back", number, len(got))
	}
	return nil
}

func many(ctx context.Context, node host.Host, there peer.ID, streams int) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	failures := make(chan error, atOnce)
	for range atOnce {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := int(next.Add(1)); number <= streams; number = int(next.Add(1)) {
				if err := one(ctx, node, there, number); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	workers.Wait()
	close(failures)
	return <-failures
}

func idle(ctx context.Context, node host.Host, there peer.ID) error {
	if err := one(ctx, node, there, 0); err != nil {
		return err
	}
	before := node.Network().ConnsToPeer(there)
	time.Sleep(pause)
	after := node.Network().ConnsToPeer(there)
	if len(before) != 1 || len(after) != 1 || before[0] != after[0] {
		return errors.New("the connection did not stay")
	}
	return one(ctx, node, there, 1)
}

// Prints how the listener's reset looks from here, and this side's from there.
func bothResets(ctx context.Context, node host.Host, there peer.ID) error {
	ask := func(what byte, code uint32) (network.Stream, error) {
		stream, err := node.NewStream(ctx, there, resetName)
		if err == nil {
			_, err = stream.Write(binary.BigEndian.AppendUint32([]byte{what}, code))
		}
		return stream, err
	}
	stream, err := ask(0, listenersCode)
	if err != nil {
		return err
	}
	by := told(stream)
	if stream, err = ask(1, 0); err != nil {
		return err
	}
	if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
		return err
	}
	if err := stream.ResetWithError(diallersCode); err != nil {
		return err
	}
	for range questions {
		if stream, err = ask(2, 0); err != nil {
			return err
		}
		if err := stream.CloseWrite(); err != nil {
			return err
		}
		text, err := io.ReadAll(stream)
		if err != nil {
			return err
		}
		if string(text) != "nothing" {
			fmt.Println(by, string(text))
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("the listener saw no reset")
}

// How a stream ends: with a code, or otherwise.
func told(stream network.Stream) string {
	_, err := io.Copy(io.Discard, stream)
	var reset *network.StreamError
	switch {
	case err == nil:
		return "ended"
	case errors.As(err, &reset) && reset.Remote:
		return strconv.FormatUint(uint64(reset.ErrorCode), 10)
	default:
		return "reset"
	}
}

// Returns what comes, and ends when it ends. A stream that breaks off is the other end's to judge.
func echo(stream network.Stream) {
	if _, err := io.Copy(stream, stream); err != nil {
		_ = stream.Reset()
		return
	}
	_ = stream.Close()
}

// The listener's end of /interop/reset/1.
func answer(stream network.Stream) {
	var word [5]byte
	if _, err := io.ReadFull(stream, word[:]); err != nil {
		_ = stream.Reset()
		return
	}
	switch word[0] {
	case 0:
		_ = stream.ResetWithError(network.StreamErrorCode(binary.BigEndian.Uint32(word[1:])))
	case 1:
		_, _ = stream.Write([]byte("!"))
		seen.Store(told(stream))
	default:
		text, ok := seen.Load().(string)
		if !ok {
			text = "nothing"
		}
		_, _ = stream.Write([]byte(text))
		_ = stream.Close()
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// The large echo: 16 MiB of a pattern that both sides know, there and back at the same time. Each side compares what it reads; the
// listener returns it while it reads, and ends where the whole pattern came and ended.
const (
	patternName = "/interop/pattern/1"
	// The first of its words: "Weir".
	seed = 0x57656972
	// Bytes that are read or written at once.
	piece = 64 << 10
)

// Words of four bytes, little-endian, each made of the one before.
func pattern() []byte {
	all := make([]byte, 0, size)
	for word := uint32(seed); len(all) < size; word = word*1664525 + 1013904223 {
		all = binary.LittleEndian.AppendUint32(all, word)
	}
	return all
}

// Reads the pattern to the end of the stream, and hands each part of it on.
func compare(stream io.Reader, then func([]byte) error) error {
	left, memory := pattern(), make([]byte, piece)
	for {
		got, err := stream.Read(memory)
		if !bytes.HasPrefix(left, memory[:got]) {
			return fmt.Errorf("other bytes than were sent, after %d", size-len(left))
		}
		left = left[got:]
		if got > 0 {
			if err := then(memory[:got]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && len(left) > 0:
			return fmt.Errorf("it ends after %d of %d bytes", size-len(left), size)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// The listener's end. Where it is not the pattern, the stream is reset.
func returnPattern(stream network.Stream) {
	err := compare(stream, func(part []byte) error {
		_, err := stream.Write(part)
		return err
	})
	if err != nil {
		_ = stream.Reset()
		return
	}
	_ = stream.Close()
}

// The dialler's end.
func largeEcho(ctx context.Context, node host.Host, there peer.ID) error {
	stream, err := node.NewStream(ctx, there, patternName)
	if err != nil {
		return err
	}
	defer stream.Reset()
	if err := stream.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	came, written := make(chan struct{}, 1), make(chan error, 1)
	go func() { written <- writePattern(stream, came) }()
	err = compare(stream, func([]byte) error {
		select {
		case came <- struct{}{}:
		default:
		}
		return nil
	})
	if err != nil {
		return err
	}
	return <-written
}

// Writes the pattern, and ends this direction. Its last piece waits for the first bytes that come back: a listener that returns
// nothing before the end never gets it.
func writePattern(stream network.Stream, came <-chan struct{}) error {
	all := pattern()
	if _, err := stream.Write(all[:size-piece]); err != nil {
		return err
	}
	<-came
	if _, err := stream.Write(all[size-piece:]); err != nil {
		return err
	}
	return stream.CloseWrite()
}

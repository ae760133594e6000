package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

const (
	identifyName = "/interop/identify/1"

	// What the other side pushes, and this one: go-libp2p pushes by itself when its protocols change.
	pushedAddress = "/ip4/127.0.0.1/tcp/7777"
	pushedName    = "/interop/pushed/1"

	// What long names begin with, how many there are, and the bytes of each.
	longName  = "/interop/long/"
	longNames = 80
	longBytes = 80
)

func ignore(stream network.Stream) { _ = stream.Close() }

func speakLongNames(node host.Host) {
	for number := range longNames {
		name := fmt.Sprintf("%s%03d/", longName, number)
		name += strings.Repeat("x", longBytes-len(name))
		node.SetStreamHandler(protocol.ID(name), ignore)
	}
}

// Whether a peer has pushed, and how many of its long names this side has learned.
func learned(node host.Host, there peer.ID) (bool, int) {
	pushed := false
	for _, address := range node.Peerstore().Addrs(there) {
		pushed = pushed || address.String() == pushedAddress
	}
	protocols, _ := node.Peerstore().GetProtocols(there)
	protocols = slices.DeleteFunc(protocols, func(name protocol.ID) bool {
		return !strings.HasPrefix(string(name), longName)
	})
	return pushed, len(protocols)
}

// Waits until this side has heard what the other one answers to identify: go-libp2p puts a push and an answer that come at
// the same time into its address book in any order, so that an answer which is older can win.
func heard(node host.Host, conn network.Conn) {
	if node, can := node.(interface{ IDService() identify.IDService }); can {
		<-node.IDService().IdentifyWait(conn)
	}
}

// The listener's end of /interop/identify/1.
func tell(node host.Host, stream network.Stream) {
	defer stream.Close()
	var word [1]byte
	if _, err := io.ReadFull(stream, word[:]); err != nil {
		_ = stream.Reset()
		return
	}
	heard(node, stream.Conn())
	pushed, names := learned(node, stream.Conn().RemotePeer())
	text := fmt.Sprint(names)
	switch {
	case word[0] == 0:
		node.SetStreamHandler(pushedName, ignore)
		text = "!"
	case word[0] == 1 && pushed:
		text = "yes"
	case word[0] == 1:
		text = "no"
	}
	_, _ = stream.Write([]byte(text))
}

// What the listener answers on /interop/identify/1.
func asked(ctx context.Context, node host.Host, there peer.ID, what byte) (string, error) {
	stream, err := node.NewStream(ctx, there, identifyName)
	if err != nil {
		return "", err
	}
	defer stream.Reset()
	if _, err := stream.Write([]byte{what}); err != nil {
		return "", err
	}
	if err := stream.CloseWrite(); err != nil {
		return "", err
	}
	text, err := io.ReadAll(stream)
	return string(text), err
}

// Asks until it is so, 100 ms apart.
func until(holds func() (bool, error)) error {
	for range questions {
		done, err := holds()
		if done || err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("nothing of that was told")
}

// Each side pushes, and learns it of the other.
func bothPush(ctx context.Context, node host.Host, there peer.ID) error {
	if _, err := asked(ctx, node, there, 0); err != nil {
		return err
	}
	err := until(func() (bool, error) {
		pushed, _ := learned(node, there)
		return pushed, nil
	})
	if err != nil {
		return err
	}
	node.SetStreamHandler(pushedName, ignore)
	return until(func() (bool, error) {
		text, err := asked(ctx, node, there, 1)
		return text == "yes", err
	})
}

// Prints how many long names this side has learned, and the listener.
func bothAreLarge(ctx context.Context, node host.Host, there peer.ID) error {
	names, text := 0, ""
	err := until(func() (bool, error) {
		_, names = learned(node, there)
		return names > 0, nil
	})
	if err != nil {
		return err
	}
	err = until(func() (bool, error) {
		var err error
		text, err = asked(ctx, node, there, 2)
		return text != "0", err
	})
	fmt.Println(names, text)
	return err
}

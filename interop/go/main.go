// A go-libp2p node, for Weir to talk to: without arguments it prints where it listens, and answers ping and identify for a minute;
// with an address it dials, pings once, and says what was agreed on.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
)

func main() {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		panic(err)
	}
	if len(os.Args) > 1 {
		a, _ := ma.NewMultiaddr(os.Args[1])
		info, _ := peer.AddrInfoFromP2pAddr(a)
		if err := h.Connect(context.Background(), *info); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		r := <-ping.Ping(context.Background(), h, info.ID)
		time.Sleep(300 * time.Millisecond)
		v, _ := h.Peerstore().Get(info.ID, "AgentVersion")
		fmt.Println("ok", r.RTT, r.Error, v, h.Network().ConnsToPeer(info.ID)[0].ConnState())
		if r.Error != nil {
			os.Exit(1)
		}
		return
	}
	fmt.Printf("listening %s/p2p/%s\n", h.Addrs()[0], h.ID())
	time.Sleep(time.Minute)
}

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/udp"
	"github.com/rootd/rootd/packetpath/vl1"
)

const floodUsage = `usage: rootswarm flood -planet FILE [flags]

Sends forged HELLOs to the root of a planet, from many addresses, and waits for nothing: for a look at what the clients
of a swarm beside it notice.

	-as strangers   identities that nobody knows and that do not validate, with a right MAC: the dearest there are
	-as noise       the same with a wrong MAC
	-as clients     the synthetic identities of a swarm with the same -clients and -seed, with a wrong MAC

example:

	rootswarm flood -planet planet -rate 20000 -as strangers -duration 20s
`

// floodPackets is how many different packets a flood has; a key agreement each, if their MACs are right.
const floodPackets = 1 << 13

// flood is a flood as given by flags.
type flood struct {
	to       netip.AddrPort
	root     vl1.Identity
	as       string
	source   netip.Prefix
	rate     int
	clients  int
	seed     uint64
	duration time.Duration
	packets  int
}

func floodCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, err := parseFlood(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil:
		err = f.run(ctx, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "rootswarm flood:", err)
		return exitError
	}
	return 0
}

func parseFlood(args []string, stderr io.Writer) (*flood, error) {
	f := &flood{source: netip.MustParsePrefix("127.32.0.0/11"), packets: floodPackets}
	fs := flag.NewFlagSet("rootswarm flood", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, floodUsage); fs.PrintDefaults() }
	planet := fs.String("planet", "", "planet `file` that names the root (required)")
	fs.StringVar(&f.as, "as", "strangers", "who the senders claim to be: strangers, noise or clients")
	fs.TextVar(&f.source, "source", f.source, "local `prefix` that the senders are in; IPv4")
	fs.IntVar(&f.rate, "rate", 20_000, "packets a second")
	fs.IntVar(&f.clients, "clients", 100, "number of the swarm's clients, for -as clients")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the swarm's clients, for -as clients")
	fs.DurationVar(&f.duration, "duration", 0, "end after this long; 0: when interrupted")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	c := new(config)
	if err := c.setPlanet(*planet, ""); err != nil {
		return nil, err
	}
	for _, r := range c.planet.Roots {
		for _, at := range r.Endpoints {
			if at.Addr().Is4() && !f.to.IsValid() {
				f.to, f.root = at, r.Identity
			}
		}
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case !f.to.IsValid():
		return nil, fmt.Errorf("-planet %s: no root with an IPv4 endpoint", *planet)
	case f.as != "strangers" && f.as != "noise" && f.as != "clients":
		return nil, fmt.Errorf("-as %q: want strangers, noise or clients", f.as)
	case f.rate < 1 || f.rate > 1_000_000 || f.clients < 1:
		return nil, errors.New("need a -rate of 1 to 1000000 and one of the -clients at least")
	case !f.source.Addr().Is4() || f.source.Bits() > 24:
		return nil, fmt.Errorf("-source %s: want an IPv4 prefix of /24 or larger", f.source)
	}
	return f, nil
}

// forge makes the packets of the flood.
func (f *flood) forge() ([][]byte, error) {
	src := rand.NewPCG(f.seed, 0)
	if f.as != "clients" {
		src = rand.NewPCG(rand.Uint64(), 1)
	}
	n := f.packets
	if f.as == "clients" {
		n = min(n, f.clients)
	}
	out := make([][]byte, 0, n)
	for range n {
		id, err := client.Synthetic(src)
		if err != nil {
			return nil, err
		}
		key := vl1.Key{byte(len(out))} // wrong
		if f.as == "strangers" {
			if key, err = id.Agree(&f.root.Key); err != nil {
				return nil, err
			}
		}
		h := vl1.Hello{Protocol: 13, Major: 1, Minor: 14, Clock: uint64(time.Now().UnixMilli()), Identity: id.Identity, SentTo: f.to}
		p := vl1.AppendHello(vl1.NewPacket(nil, rand.Uint64(), f.root.Address, id.Address, vl1.VerbHello), &h, &key)
		vl1.Armor(p, &key, vl1.SuitePoly1305)
		out = append(out, p)
	}
	return out, nil
}

// run sends until ctx or the time ends, and says how much that was.
func (f *flood) run(ctx context.Context, stdout io.Writer) error {
	packets, err := f.forge()
	if err != nil {
		return err
	}
	conn, err := udp.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), udp.Options{SendBuffer: 4 << 20, NoWait: true, Whole: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	sender := conn.NewSender(floodBatch)
	batch := make([]udp.Message, floodBatch)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for (f.duration == 0 || time.Since(began) < f.duration) && ctx.Err() == nil {
		due := int(time.Since(began).Seconds()*float64(f.rate)) - sent
		for due > 0 {
			n := min(due, floodBatch)
			for i := range batch[:n] {
				p := packets[(sent+i)%len(packets)]
				batch[i] = udp.Message{Buf: p, N: len(p), Addr: f.to, Local: f.from(sent + i)}
			}
			_, _ = sender.Write(batch[:n]) // a flood does not care
			sent += n
			due -= n
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	took := time.Since(began)
	_, err = fmt.Fprintf(stdout, "%d forged HELLOs in %.1f s: %.0f/s\n", sent, took.Seconds(), float64(sent)/took.Seconds())
	return err
}

const floodBatch = 64

// from is the address of the sender of a packet: neighbors are in different networks.
func (f *flood) from(i int) netip.Addr {
	a := f.source.Masked().Addr().As4()
	n := uint32(i*257+1) & (1<<(32-f.source.Bits()) - 1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(a[:])|n)))
}

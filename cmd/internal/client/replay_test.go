package client_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rootd/rootd/cmd/internal/client"
	"github.com/rootd/rootd/packetpath/vl1"
)

// tolerance between the real client and the model: one background tick, ms.
const tolerance = 5_000

// replay plays the network's side of a capture to the model and compares what the model sends with what the real
// client sent.
type replay struct {
	t      *testing.T
	c      *client.Client
	e      client.Env
	id     *vl1.SecretIdentity
	root   vl1.Address
	peers  map[vl1.Address]vl1.Identity
	keys   map[vl1.Address]vl1.Key
	locals []netip.AddrPort

	real, model map[string][]int64 // times of what was sent, by what it is
	asked       map[uint64]request // the real client's requests, by packet ID
	answer      map[request]uint64 // packet IDs of the model's
	isolated    bool               // clients cannot reach each other, and the capture lacks what they tried
	held        []record           // answers to requests that the model has not sent yet
	known       map[vl1.Address]bool
	replayed    int
}

// request is the n-th packet of a kind.
type request struct {
	kind string
	n    int
}

// kind names a packet by verb, argument and target. Everything that depends on chance or on users is left out of the
// comparison: ok is false.
func (r *replay) kind(b []byte, to netip.AddrPort) (kind string, pkt vl1.Packet, ok bool) {
	if len(b) == 4 && !r.isolated {
		return fmt.Sprintf("junk to %v", to), nil, true
	}
	if vl1.IsFragment(b) || len(b) < vl1.HeaderLen || vl1.Packet(b).Fragmented() {
		return "", nil, false
	}
	pkt = slices.Clone(vl1.Packet(b))
	other := pkt.Dest()
	if other == r.id.Address {
		other = pkt.Source()
	}
	k, have := r.keys[other]
	if !have || vl1.Dearmor(pkt, &k) != nil {
		return "", nil, false
	}
	pkt, err := vl1.Decompress(pkt, make([]byte, vl1.MaxPacket))
	if err != nil {
		return "", nil, false
	}
	who := "peer"
	if other == r.root {
		who = "root"
	}
	kind = fmt.Sprintf("%v to %s at %v", pkt.Verb(), who, to)
	switch pkt.Verb() {
	case vl1.VerbHello, vl1.VerbEcho:
		return kind, pkt, other == r.root
	case vl1.VerbOK:
		v, _, _, _ := vl1.DecodeOK(pkt)
		return fmt.Sprintf("%s for %v", kind, v), pkt, other == r.root && (v == vl1.VerbHello || v == vl1.VerbEcho)
	case vl1.VerbWhois:
		list, _ := vl1.DecodeWhois(pkt)
		return fmt.Sprintf("%s for %v", kind, list.At(0)), pkt, list.At(0) == r.root
	}
	return kind, pkt, false
}

func newReplay(t *testing.T, dir, name string, seed uint64, records []record) *replay {
	r := &replay{
		t: t, peers: make(map[vl1.Address]vl1.Identity), keys: make(map[vl1.Address]vl1.Key),
		real: make(map[string][]int64), model: make(map[string][]int64),
		asked: make(map[uint64]request), answer: make(map[request]uint64), known: make(map[vl1.Address]bool),
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.identity.secret"))
	if err != nil {
		t.Fatal(err)
	}
	var others []*vl1.SecretIdentity
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		id, err := vl1.ParseSecretIdentity(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(f) == name+".identity.secret" {
			r.id = id
		} else {
			others = append(others, id)
			r.peers[id.Address] = id.Identity
		}
		if filepath.Base(f) == "r0.identity.secret" {
			r.root = id.Address
		}
	}
	for _, o := range others {
		if r.keys[o.Address], err = r.id.Agree(&o.Key); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "planet"))
	if err != nil {
		t.Fatal(err)
	}
	planet, _, err := vl1.DecodeWorld(b)
	if err != nil {
		t.Fatal(err)
	}
	sockets := [2]int{}
	for _, rec := range records {
		if src := vl1.Packet(rec.b); len(rec.b) < vl1.HeaderLen || src.Source() != r.id.Address || src.Hops() != 0 || slices.Contains(r.locals, rec.from) {
			continue
		}
		if rec.from.Addr().Is4() {
			r.locals = slices.Insert(r.locals, sockets[0], rec.from)
			sockets[0]++
		} else {
			r.locals = append(r.locals, rec.from)
			sockets[1]++
		}
	}
	f, err := client.FamilyByName("1.14")
	if err != nil {
		t.Fatal(err)
	}
	r.c, err = client.New(client.Options{Family: f, Identity: r.id, Planet: planet, Seed: seed, Sockets: sockets, Networks: []uint64{1}})
	if err != nil {
		t.Fatal(err)
	}
	r.e.Send = r.sent
	return r
}

func (r *replay) sent(_ *client.Client, _ client.Socket, to netip.AddrPort, _ uint8, b []byte) {
	kind, pkt, ok := r.kind(b, to)
	if pkt != nil && isRequest(pkt.Verb()) {
		r.answer[request{kind, len(r.model[kind])}] = vl1.Packet(b).ID()
	}
	if pkt != nil || ok {
		r.model[kind] = append(r.model[kind], r.e.Now)
	}
}

func isRequest(v vl1.Verb) bool {
	return v == vl1.VerbHello || v == vl1.VerbEcho || v == vl1.VerbWhois
}

// run plays all records. It returns false if the model made another choice by chance than the real client at the start.
func (r *replay) run(records []record) bool {
	r.e.Now = records[0].at
	r.c.Tick(&r.e)
	firstChoice := false
	for _, rec := range records {
		out := slices.Contains(r.locals, rec.from)
		for r.c.Next() <= rec.at {
			r.e.Now = max(r.c.Next(), r.e.Now)
			r.c.Tick(&r.e)
			r.release()
		}
		if out {
			r.outgoing(rec)
			if !firstChoice {
				firstChoice = true
				kind, _, _ := r.kind(rec.b, rec.to)
				if len(r.model[kind]) == 0 {
					return false
				}
			}
			continue
		}
		r.e.Now = rec.at
		if !r.incoming(rec) {
			r.held = append(r.held, rec)
		}
		r.release()
	}
	return true
}

// outgoing notes what the real client sent. Where users made it speak to somebody, the model is made to as well.
func (r *replay) outgoing(rec record) {
	kind, pkt, ok := r.kind(rec.b, rec.to)
	if pkt != nil && isRequest(pkt.Verb()) {
		r.asked[vl1.Packet(rec.b).ID()] = request{kind, len(r.real[kind])}
	}
	if pkt != nil || ok {
		r.real[kind] = append(r.real[kind], rec.at)
	}
	if pkt == nil || pkt.Verb() != vl1.VerbWhois {
		return
	}
	list, _ := vl1.DecodeWhois(pkt)
	if a := list.At(0); a != r.root && !r.known[a] {
		r.known[a] = true
		r.e.Now = max(r.e.Now, rec.at)
		if err := r.c.SendFrame(&r.e, 1, a, []byte("replay")); err != nil {
			r.t.Fatal(err)
		}
	}
}

// incoming gives a datagram to the model. Answers are made to quote the model's request instead of the real client's;
// false means that the model has not sent it yet.
func (r *replay) incoming(rec record) bool {
	sock := slices.Index(r.locals, rec.to)
	if sock < 0 {
		return true
	}
	b := slices.Clone(rec.b)
	_, pkt, _ := r.kind(rec.b, rec.to)
	if pkt != nil && pkt.Verb() == vl1.VerbOK {
		_, id, _, _ := vl1.DecodeOK(pkt)
		q, isOurs := r.asked[id]
		if isOurs {
			a, have := r.answer[q]
			if !have {
				return false
			}
			suite, hops := pkt.Suite(), pkt.Hops()
			binary.BigEndian.PutUint64(pkt[29:], a)
			if strings.HasPrefix(q.kind, "HELLO") { // the latency is the real one, whenever the model asked
				binary.BigEndian.PutUint64(pkt[37:], uint64(r.e.Now-rec.at)+binary.BigEndian.Uint64(pkt[37:]))
			}
			k := r.keys[pkt.Source()]
			vl1.Armor(pkt, &k, suite)
			pkt.SetHops(hops)
			b = pkt
		}
	}
	r.replayed++
	r.c.Receive(&r.e, client.Socket(sock), rec.from, b)
	return true
}

func (r *replay) release() {
	held := r.held
	r.held = nil
	for _, rec := range held {
		if !r.incoming(rec) && r.e.Now-rec.at < 2*tolerance {
			r.held = append(r.held, rec)
		}
	}
}

// TestReplay plays captures of real 1.14.1 clients, with roots that relay, redirect, bounce them and die, to the model:
// it must send to the root what the real client sent, in the same number, to the same endpoints, within a tick.
func TestReplay(t *testing.T) {
	for _, tc := range []struct{ dir, name string }{
		{"cluster-v4", "c1"},
		{"cluster-v4", "c3"},
		{"cluster2016-unsolicited-redirect", "c1"},
		{"cluster2016-unsolicited-redirect", "c2"},
		{"cluster2016-unsolicited-redirect", "c3"},
		{"one-direct", "c2"},
		{"one-relay", "c2"},
	} {
		t.Run(tc.dir+"/"+tc.name, func(t *testing.T) {
			dir := filepath.Join("testdata", tc.dir)
			records := readPcap(t, filepath.Join(dir, tc.name+".pcap"))
			var r *replay
			for seed := uint64(0); ; seed++ { // the first endpoint is a matter of chance
				if seed == 100 {
					t.Fatal("no seed makes the first choice of the real client")
				}
				r = newReplay(t, dir, tc.name, seed, records)
				r.isolated = tc.dir == "one-relay"
				if r.run(records) {
					break
				}
			}
			r.compare(records)
		})
	}
}

func (r *replay) compare(records []record) {
	end := records[len(records)-1].at
	kinds := make(map[string]bool)
	for _, m := range []map[string][]int64{r.real, r.model} {
		for k := range m {
			kinds[k] = true
		}
	}
	matched, worst := 0, int64(0)
	for _, k := range slices.Sorted(mapsKeys(kinds)) {
		if !comparable(k, r.root) {
			continue
		}
		real, model := r.real[k], r.model[k]
		for i := range max(len(real), len(model)) {
			switch {
			case i >= len(model):
				if end-real[i] > tolerance {
					r.t.Errorf("%s: the real client sent number %d at %.3f s, the model did not", k, i, r.since(records, real[i]))
				}
			case i >= len(real):
				if end-model[i] > tolerance {
					r.t.Errorf("%s: the model sent number %d at %.3f s, the real client did not", k, i, r.since(records, model[i]))
				}
			default:
				d := max(real[i]-model[i], model[i]-real[i])
				worst = max(worst, d)
				matched++
				if d > tolerance {
					r.t.Errorf("%s: number %d at %.3f s by the real client, at %.3f s by the model", k, i, r.since(records, real[i]), r.since(records, model[i]))
				}
			}
		}
	}
	r.t.Logf("%d datagrams played, %d of the client's compared, farthest apart %d ms", r.replayed, matched, worst)
	if matched < 5 {
		r.t.Errorf("only %d packets were compared", matched)
	}
}

func (r *replay) since(records []record, at int64) float64 { return float64(at-records[0].at) / 1000 }

// comparable: what a client sends to roots on its own, and the junk that opens its NAT.
func comparable(kind string, root vl1.Address) bool {
	for _, p := range []string{"junk", "HELLO to root", "ECHO to root"} {
		if strings.HasPrefix(kind, p) {
			return true
		}
	}
	return strings.HasPrefix(kind, "OK to root") && (strings.HasSuffix(kind, "HELLO") || strings.HasSuffix(kind, "ECHO")) ||
		strings.HasPrefix(kind, "WHOIS to root") && strings.HasSuffix(kind, root.String())
}

func mapsKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

package packetpath_test

import (
	"testing"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Clients of protocol 4 answer no ECHO, and 1.1.0 sends its answer unencrypted. Their paths are confirmed by the answer to a WHOIS,
// of the right ID and from the right place, and not before.
func TestClientWithoutEcho(t *testing.T) {
	for name, version := range map[string]func(*vl1.Hello){
		"1.0.5": func(h *vl1.Hello) { h.Protocol, h.Major, h.Minor, h.Revision, h.HasPlanet = 4, 1, 0, 5, false },
		"1.1.0": func(h *vl1.Hello) { h.Protocol, h.Major, h.Minor, h.Revision = 5, 1, 1, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, nil, func(l *lab) {
				d := l.client(2, "192.0.2.8:40000").attach()
				c := l.client(1, "192.0.2.7:40000")
				c.mute = true
				hello := c.helloPacket(version)
				c.raw(hello)
				var asked uint64
				bytes := 0
				for range 2 {
					p := c.next()
					if p == nil {
						t.Fatal("silence")
					}
					bytes += len(p)
					switch p.Verb() {
					case vl1.VerbWhois:
						if list, err := vl1.DecodeWhois(p); err != nil || list.Len() != 1 || list.At(0) != c.self.Address {
							t.Errorf("WHOIS of %v, %v", list, err)
						}
						asked = p.ID()
					case vl1.VerbOK:
					default:
						t.Errorf("got %v", p.Verb())
					}
				}
				if asked == 0 || bytes > len(hello) {
					t.Fatalf("answered %d bytes with %d", len(hello), bytes)
				}
				answer := func(c *client, id uint64) {
					c.send(vl1.AppendOKWhois(c.packet(vl1.VerbOK), id, &c.self.Identity))
				}
				relayed := func() bool {
					d.raw(vl1.NewPacket(nil, randomID(), c.id.Address, d.id.Address, vl1.VerbFrame))
					for p := c.next(); p != nil; p = c.next() {
						if p.Source() == d.id.Address {
							return true
						}
					}
					return false
				}
				answer(c, asked+1)
				answer(c.from("192.0.2.9:40000"), asked)
				if c.confirmed() || relayed() {
					t.Fatal("the path was confirmed by the wrong answer")
				}
				answer(c, asked)
				if !c.confirmed() || !relayed() {
					t.Error("the path was not confirmed")
				}
			})
		})
	}
}

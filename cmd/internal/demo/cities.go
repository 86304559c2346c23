package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rootd/rootd/geo"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// city is where clients are said to be. Members are in the first ones.
type city struct {
	name     string
	lat, lon float64
}

// cities are twenty, one to each source prefix of the swarm.
func cities() []city {
	return []city{
		{"Amsterdam", 52.37, 4.89},
		{"New York", 40.71, -74.01},
		{"Singapore", 1.35, 103.82},
		{"Sao Paulo", -23.55, -46.63},
		{"Tokyo", 35.68, 139.69},
		{"Johannesburg", -26.2, 28.05},
		{"Sydney", -33.87, 151.21},
		{"San Francisco", 37.77, -122.42},
		{"London", 51.51, -0.13},
		{"Frankfurt", 50.11, 8.68},
		{"Mumbai", 19.08, 72.88},
		{"Toronto", 43.65, -79.38},
		{"Lagos", 6.52, 3.38},
		{"Moscow", 55.76, 37.62},
		{"Dubai", 25.2, 55.27},
		{"Mexico City", 19.43, -99.13},
		{"Santiago", -33.45, -70.67},
		{"Seoul", 37.57, 126.98},
		{"Madrid", 40.42, -3.7},
		{"Chicago", 41.88, -87.63},
	}
}

func (c city) point() geo.Point { return geo.Point{Lat: c.lat, Lon: c.lon} }

// source is the prefix of the clients of city i: clients take addresses from all prefixes in turn.
func source(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(64 + i), 0, 0}), 16)
}

func sources() string {
	var all []string
	for i := range cities() {
		all = append(all, source(i).String())
	}
	return strings.Join(all, ",")
}

// mapCities tells the root where the clients are. On loopback all round trips are alike: positions alone must decide.
func (d *demo) mapCities(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	c := admin.NewClient(d.members[0].Socket())
	defer c.Close()
	set := [][2]string{{"steering_measured", "off"}}
	for i, city := range cities() {
		set = append(set, [2]string{"geo/" + source(i).String(), city.point().String() + " " + city.name})
	}
	for _, kv := range set {
		if _, err := c.SetSetting(ctx, kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}

// census is how many clients of each city are at each member.
type census struct {
	at    [][]int // by city, then by member
	known int
	home  int // at the member nearest to them
}

func (d *demo) newCensus() *census {
	s := &census{at: make([][]int, len(cities()))}
	for i := range s.at {
		s.at[i] = make([]int, len(d.members))
	}
	return s
}

func (s *census) add(w whereabouts) {
	s.known++
	s.at[w.city][w.member]++
	if w.member == nearest(w.city, len(s.at[w.city])) {
		s.home++
	}
}

// whereabouts are the city that a client is in, and the member that it is at.
type whereabouts struct{ city, member int }

// where asks the first member that answers where all clients are. Clients that were not seen before are added to first.
func (d *demo) where(ctx context.Context, first map[vl1.Address]whereabouts) (s *census, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, m := range d.members {
		c := admin.NewClient(m.Socket())
		s, err = d.whereSays(ctx, c, first)
		if c.Close(); err == nil {
			break
		}
	}
	return s, err
}

func (d *demo) whereSays(ctx context.Context, c *admin.Client, first map[vl1.Address]whereabouts) (*census, error) {
	var prefixes []netip.Prefix
	for i := range cities() {
		prefixes = append(prefixes, source(i))
	}
	s := d.newCensus()
	return s, c.Peers(ctx, admin.PeerFilter{}, func(p *admin.Peer) error {
		for _, path := range p.Paths {
			w := whereabouts{slices.IndexFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(path.Endpoint.Addr()) }), int(path.MemberID) - 1}
			if w.city < 0 || w.member < 0 || w.member >= len(d.members) {
				continue
			}
			s.add(w)
			if _, ok := first[p.Address]; !ok {
				first[p.Address] = w
			}
			break
		}
		return nil
	})
}

// nearest is the member nearest to a city.
func nearest(from, members int) (best int) {
	all, least := cities(), math.Inf(1)
	for i := range members {
		if km := geo.Km(all[i].point().Unit(), all[from].point().Unit()); km < least {
			best, least = i, km
		}
	}
	return best
}

func (d *demo) print(title string, s *census) {
	fmt.Fprintf(d.stderr, "\n%s: %d of %d clients are at the member nearest to them\n", title, s.home, s.known)
	t := tabwriter.NewWriter(d.stderr, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "clients in\t")
	for i := range d.members {
		fmt.Fprintf(t, "at m%d %s\t", i+1, cities()[i].name)
	}
	fmt.Fprintln(t, "nearest\t")
	for i, row := range s.at {
		fmt.Fprintf(t, "%s\t", cities()[i].name)
		for _, n := range row {
			fmt.Fprintf(t, "%d\t", n)
		}
		fmt.Fprintf(t, "m%d\t\n", nearest(i, len(row))+1)
	}
	_ = t.Flush()
	fmt.Fprintln(d.stderr)
}

// steer shows where chance put the clients, and how they get to where they belong.
func (d *demo) steer(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	first := map[vl1.Address]whereabouts{}
	began, said, shown := time.Now(), time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := d.where(ctx, first)
		if err != nil {
			continue // it was killed, or is busy
		}
		if !shown && len(first) >= d.clients {
			before := d.newCensus()
			for _, w := range first {
				before.add(w)
			}
			d.print("where chance put them", before)
			shown = true
		}
		switch {
		case shown && now.home >= d.clients:
			d.print(fmt.Sprintf("after %v", time.Since(began).Round(time.Second)), now)
			return
		case now.known > 0 && time.Since(said) >= time.Second:
			said = time.Now()
			fmt.Fprintf(d.stderr, "steering: %d of %d clients are at the member nearest to them\n", now.home, now.known)
		}
	}
}

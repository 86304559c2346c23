package main

import "time"

// Measured is what rootd was measured to cost: the figures of docs/performance.md, in rounder numbers and never better ones.
type Measured struct {
	Relay, Hello, Echo, Whois float64 // µs of CPU for a packet, kernel included, on a busy core
	Change                    float64 // µs of CPU for a peer's change: encode, log, send, apply, at any one member
	Entry                     float64 // µs of CPU for an entry beside its changes, likewise
	Commits                   float64 // changes a second that three voters commit
	Session                   float64 // bytes for a client that is attached here
	Peer                      float64 // bytes in the table
	Process                   float64 // bytes without any peer
	Saved                     float64 // bytes a peer in a snapshot
	SaveRate, RestoreRate     float64 // bytes and peers a second
	Endpoint, NewPeer         float64 // bytes of a change in the log
}

func measured() Measured {
	return Measured{
		Relay: 5.3, Hello: 6.0, Echo: 5.6, Whois: 7.2,
		Change: 1.4, Entry: 60, Commits: 400_000,
		Session: 1500, Peer: 160, Process: 60e6,
		Saved: 147, SaveRate: 250e6, RestoreRate: 3e6,
		Endpoint: 14, NewPeer: 106,
	}
}

// Demand is what peers do, each on average. All of it is assumed: measure your own, and put that in.
type Demand struct {
	Name                 string
	Hello, Echo, Whois   float64 // packets a second
	Relayed              float64 // packets a second that need the root
	Endpoints, Newcomers float64 // changes a second of endpoints that reach the log; shares of new peers a second
	Peak                 float64 // the busiest minute in units of the average one, but for HELLO and ECHO: these go on as ever
}

const day = 24 * 60 * 60

// families are kinds of populations.
func families() []Demand {
	d := Demand{
		// Four in ten move about eight times a day, the others once in four days; 2 % sit behind NATs that give another port to
		// every packet, of which one in ten minutes reaches the log.
		Endpoints: 0.4*8/day + 0.6*0.25/day + 0.02/600, Newcomers: 0.005 / day,
		Whois: 0.002, Relayed: 0.05, Peak: 3,
	}
	modern, mixed, old := d, d, d
	modern.Name, modern.Hello, modern.Echo = "1.12 and later", 1.0/120, 1.0/60
	old.Name, old.Hello, old.Echo = "1.2 to 1.10.2", 0.22, 0.22
	mixed.Name, mixed.Hello, mixed.Echo = "half of each", (modern.Hello+old.Hello)/2, (modern.Echo+old.Echo)/2
	return []Demand{modern, mixed, old}
}

// Machine is what a member runs on.
type Machine struct {
	Cores   float64
	Memory  float64 // bytes
	Network float64 // bits a second
}

func machines() []Machine {
	return []Machine{{2, 8e9, 1e9}, {16, 64e9, 10e9}, {64, 256e9, 10e9}}
}

// Cluster is members of one kind. One of them may be lost at any time: what the others can carry is what counts.
type Cluster struct {
	Members int
	Machine Machine
}

const (
	packetShare = 0.5              // of the cores for packets at the peak: the rest is for floods, snapshots, the log, the system
	memoryShare = 0.7              // of the memory: a snapshot keeps copies, a restore a second table for a moment
	logShare    = 0.2              // of what the log can commit, at the peak
	shipTime    = 90 * time.Second // in which a new member must get the snapshot, over half of its network
	returnTime  = 60 * time.Second // in which the peers of a lost member show up elsewhere
)

// Limit is how many peers one resource is enough for.
type Limit struct {
	Resource string
	Peers    float64
}

// Packets is how many packets of a peer come in a second, at the peak.
func (d Demand) Packets() float64 { return d.Hello + d.Echo + (d.Whois+d.Relayed)*d.Peak }

// PacketCPU is the µs of CPU that they take on busy cores.
func (d Demand) PacketCPU(m Measured) float64 {
	return d.Hello*m.Hello + d.Echo*m.Echo + (d.Whois*m.Whois+d.Relayed*m.Relay)*d.Peak
}

// Changes is how many changes of a peer reach the log in a second, at the peak.
func (d Demand) Changes() float64 { return (d.Endpoints + d.Newcomers) * d.Peak }

// LogBytes is their size.
func (d Demand) LogBytes(m Measured) float64 {
	return (d.Endpoints*m.Endpoint + d.Newcomers*m.NewPeer) * d.Peak
}

// limits are what the resources of a cluster are enough for, each alone.
func (c Cluster) limits(d Demand, m Measured) []Limit {
	left := float64(c.Members - 1)
	ship := c.Machine.Network / 2 / 8 * shipTime.Seconds()
	back := returnTime.Seconds() * float64(c.Members) // the share of a lost member, spread over that time
	return []Limit{
		{"packets", c.Machine.Cores * packetShare * 1e6 * left / (d.PacketCPU(m) + d.Changes()*m.Change*left)},
		{"memory", (c.Machine.Memory*memoryShare - m.Process) / (m.Peer + m.Session/left)},
		{"snapshot to a new member", ship / m.Saved},
		{"changes in the log", m.Commits * logShare / d.Changes()},
		{"log to the followers", c.Machine.Network / 2 / 8 / (d.LogBytes(m) * left)},
		{"a member's peers return", m.Commits * back},
	}
}

// least is the limit that counts.
func least(ls []Limit) Limit {
	out := ls[0]
	for _, l := range ls {
		if l.Peers < out.Peers {
			out = l
		}
	}
	return out
}

// State is a cluster with so many peers, at the peak, with one member lost.
type State struct {
	Peers                       float64
	Packets                     float64 // a second at one member
	Cores                       float64 // busy with packets, at one member
	Changes, LogBytes, LogCores float64 // a second, a second, at one member
	Memory                      float64 // bytes of one member
	Snapshot                    float64 // bytes
	Save, Restore, Ship         time.Duration
	Groups                      int // Raft groups that the snapshot's way to a new member asks for
}

func (c Cluster) state(peers float64, d Demand, m Measured) State {
	left := float64(c.Members - 1)
	s := State{
		Peers: peers, Packets: peers * d.Packets() / left, Cores: peers * d.PacketCPU(m) / left / 1e6,
		Changes: peers * d.Changes(), LogBytes: peers * d.LogBytes(m),
		Memory:   m.Process + peers*(m.Peer+m.Session/left),
		Snapshot: peers * m.Saved,
	}
	entries := max(min(s.Changes, 40*left), s.Changes/1000) // a proposer sends one in 25 ms at most, until they are full
	s.LogCores = (s.Changes*m.Change + entries*m.Entry) / 1e6
	s.Save = seconds(s.Snapshot / m.SaveRate)
	s.Restore = seconds(peers / m.RestoreRate)
	s.Ship = seconds(s.Snapshot * 8 / (c.Machine.Network / 2))
	s.Groups = 1
	for time.Duration(s.Groups)*shipTime < s.Ship {
		s.Groups *= 2 // by one more bit of the hash
	}
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

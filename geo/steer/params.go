package steer

import "time"

// Params are the rules of steering, the same on all members: they come from the cluster's settings.
type Params struct {
	Margin        time.Duration // least gain of a move
	MarginPercent int           // least gain, in percent of the present cost
	Dwell         time.Duration // least time from a move to the next one of the same peer; doubles with each further move
	MovesPerHour  int           // most moves of one peer
	HoldDown      time.Duration // how long a target that failed is left out for the peer; doubles with each failure
	Inflation     int           // round trip over the distance in fibre, in percent of the ideal
	LoadFrom      int           // load in ‰ from which a member becomes dearer
	LoadFull      int           // load in ‰ from which it takes no more peers
	LoadPenalty   time.Duration // what LoadFull costs; less in proportion from LoadFrom on
	Measured      bool          // measured round trips count
	RTTAge        time.Duration // how long they count
}

// DefaultParams are in force before anything is set.
func DefaultParams() Params {
	return Params{
		Margin: 10 * time.Millisecond, MarginPercent: 5, Dwell: 10 * time.Minute, MovesPerHour: 4, HoldDown: 10 * time.Minute,
		Inflation: 170, LoadFrom: 700, LoadFull: 950, LoadPenalty: 50 * time.Millisecond, Measured: true, RTTAge: 7 * 24 * time.Hour,
	}
}

// fibre is how far light goes in fibre in a millisecond, in km.
const fibre = 200

// perMegametre returns the modelled round trip for 1000 km, in µs.
func (p *Params) perMegametre() int64 {
	return 2 * 1000 * 1000 / fibre * int64(p.Inflation) / 100
}

// penalty returns what a load costs, in µs: nothing up to LoadFrom, LoadPenalty at LoadFull and beyond, in proportion
// between, in steps of 5 % of load so that small changes change nothing.
func (p *Params) penalty(load int) int64 {
	const step = 50
	load = min(load/step*step, p.LoadFull)
	if load <= p.LoadFrom {
		return 0
	}
	return p.LoadPenalty.Microseconds() * int64(load-p.LoadFrom) / int64(p.LoadFull-p.LoadFrom)
}

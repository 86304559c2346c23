package packetpath

import "time"

// Limits bound what one sender can make the root do. Rates are per second; a burst is how many may come at once.
// Each limit has a counter.
type Limits struct {
	NewcomerRate         float64 // unknown identities looked at, per IPv4 /24 or IPv6 /48
	NewcomerBurst        int
	RekeyRate            float64 // packets of known peers without a session, per prefix as above
	RekeyBurst           int
	ValidationWorkers    int // goroutines that run the memory-hard hash
	ValidationQueue      int // identities that may wait for one
	HelloRate            float64
	HelloBurst           int
	WhoisRate            float64 // addresses
	WhoisBurst           int
	EchoRate             float64
	EchoBurst            int
	GatherRate           float64
	GatherBurst          int
	GatherMax            int           // members in one answer
	PlanetInterval       time.Duration // between two worlds for one client
	RelayFrom            float64       // bytes from one endpoint; 0 is no limit
	RelayTo              float64       // bytes to one peer; 0 is no limit
	IntroductionInterval time.Duration // between two RENDEZVOUS of one pair; 0 is never
	IntroductionRate     float64       // pairs introduced on behalf of one sender
	IntroductionBurst    int
	MaxSessions          int
}

// DefaultLimits are generous to honest clients, many behind one address included.
func DefaultLimits() Limits {
	return Limits{
		NewcomerRate: 10, NewcomerBurst: 100, RekeyRate: 500, RekeyBurst: 5000,
		ValidationWorkers: 1, ValidationQueue: 1024,
		HelloRate: 10, HelloBurst: 20, WhoisRate: 20, WhoisBurst: 50, EchoRate: 6, EchoBurst: 12,
		GatherRate: 10, GatherBurst: 50, GatherMax: 64, PlanetInterval: 10 * time.Second,
		RelayFrom: 64 << 20, RelayTo: 64 << 20, IntroductionInterval: 30 * time.Second, IntroductionRate: 20, IntroductionBurst: 200,
		MaxSessions: 1_000_000,
	}
}

package main

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rootd/rootd/geo"
)

// Config is everything an operator can set, with the defaults of [DefaultConfig] where nothing was said. Every field
// has its row in [settings], from which flags, the file's keys and the documentation come. Nothing but this package
// sees it: packages get small Options structs of their own.
type Config struct {
	DataDir   string           // directory of identity, planet, log
	Name      string           // this member's name; "" = host name
	Listen    []netip.AddrPort // UDP sockets
	Endpoints []netip.AddrPort // where clients reach this member, in planet order; none = guessed from the interfaces
	Position  string           // latitude and longitude; "" = located by the endpoints
	Geo       GeoConfig
	Cluster   ClusterConfig
	Admin     AdminConfig
	HTTP      HTTPConfig
	Log       LogConfig
	UDP       UDPConfig
	Crypto    CryptoConfig
	Peers     PeersConfig
	Limits    LimitsConfig
	Relay     RelayConfig
	Multicast MulticastConfig
	Backup    BackupConfig
	Planet    PlanetConfig
}

// GeoConfig is about where on the Earth peers are.
type GeoConfig struct {
	Database  string // path; "" = none
	Overrides []geo.Override
}

// ClusterConfig is how members reach each other.
type ClusterConfig struct {
	Listen  netip.AddrPort // TCP and UDP; invalid = none
	Address string         // host:port as other members dial it; "" = guessed
}

// AdminConfig is the socket that rootctl talks to.
type AdminConfig struct {
	Socket string // "" = admin.sock in the data directory; see [Config.AdminSocket]
}

// HTTPConfig is the listener for metrics and health.
type HTTPConfig struct {
	Listen netip.AddrPort // invalid = no listener
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// UDPConfig is about sockets and the workers that own them.
type UDPConfig struct {
	Workers       int // sockets (and workers) per listen address; 0 = one per CPU, see [Config.Workers]
	ReceiveBuffer Bytes
	SendBuffer    Bytes
	Offload       bool // datagrams of one sender, or to one destination, pass the kernel together
}

// CryptoConfig chooses cipher suites.
type CryptoConfig struct {
	AES bool // answer in AES-GMAC-SIV where a client allows it
}

// PeersConfig is about how many peers are remembered and for how long.
type PeersConfig struct {
	KeepWarm    time.Duration // ECHO on a path that was silent this long; 0 = never
	DrainAtStop time.Duration // how long a member that is told to stop hands its peers off first; 0 = not at all
	MaxSessions int           // peers with live soft state at this member
	HugePages   bool          // ask the kernel for huge pages for the table
}

// LimitsConfig bounds what one sender can make us do. Rates are per second; a burst is how many may come at once.
type LimitsConfig struct {
	NewIdentityRate   float64 // unknown identities, per IPv4 /24 or IPv6 /48
	NewIdentityBurst  int
	RekeyRate         float64 // packets of known peers that need a key agreement, per prefix
	RekeyBurst        int
	ValidationWorkers int     // goroutines that run the memory-hard hash; 0 = half the CPUs, see [Config.ValidationWorkers]
	ValidationQueue   int     // identities that wait for one
	HelloRate         float64 // HELLOs answered, per client
	HelloBurst        int
	WhoisRate         float64 // WHOIS lookups, per client
	WhoisBurst        int
	EchoRate          float64 // ECHOs answered, per client
	EchoBurst         int
	PlanetInterval    time.Duration // planet handed to one client at most this often
}

// RelayConfig bounds what is passed on between peers. Bytes are UDP payload bytes per second; 0 = no limit.
type RelayConfig struct {
	SourceRate           Bytes
	DestinationRate      Bytes
	IntroductionInterval time.Duration // RENDEZVOUS for one pair at most this often; 0 = never introduce
	IntroductionRate     float64       // pairs introduced, per sender
	IntroductionBurst    int
}

// MulticastConfig bounds the multicast soft state.
type MulticastConfig struct {
	GroupsPerPeer int
	GatherMax     int // addresses in one answer
	GatherRate    float64
	GatherBurst   int
}

// BackupConfig says where backups go, how often, and which ones stay. All members should have the same: the leader makes them.
type BackupConfig struct {
	Store         string // "" = none are made; a directory, or s3://BUCKET/PREFIX
	Every         time.Duration
	MaxAge        time.Duration // 0 = overdueBy times Every
	Recipients    string        // public keys of age; "" = no secrets in backups
	KeepLast      int
	KeepHourly    int
	KeepDaily     int
	KeepWeekly    int
	KeepMonthly   int
	S3Endpoint    string
	S3Region      string
	S3Credentials string // file; "" = those of the environment
}

// PlanetConfig is used when the data directory is created, never later.
type PlanetConfig struct {
	WorldID uint64 // 0 = random
}

// DefaultConfig returns the configuration of a rootd that was told nothing.
func DefaultConfig() Config {
	return Config{
		DataDir: "/var/lib/rootd",
		Listen:  []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:9993"), netip.MustParseAddrPort("[::]:9993")},
		Cluster: ClusterConfig{Listen: netip.MustParseAddrPort("0.0.0.0:9995")},
		HTTP:    HTTPConfig{Listen: netip.MustParseAddrPort("127.0.0.1:9994")},
		Log:     LogConfig{Level: slog.LevelInfo, Format: "text"},
		UDP:     UDPConfig{ReceiveBuffer: 8 << 20, SendBuffer: 8 << 20, Offload: true},
		Crypto:  CryptoConfig{},
		Peers: PeersConfig{
			KeepWarm: 25 * time.Second, DrainAtStop: 10 * time.Second, MaxSessions: 1_000_000, HugePages: true,
		},
		Limits: LimitsConfig{
			NewIdentityRate: 10, NewIdentityBurst: 100, RekeyRate: 500, RekeyBurst: 5000, ValidationQueue: 1024,
			HelloRate: 10, HelloBurst: 20, WhoisRate: 20, WhoisBurst: 50, EchoRate: 6, EchoBurst: 12,
			PlanetInterval: 10 * time.Second,
		},
		Relay: RelayConfig{
			SourceRate: 64 << 20, DestinationRate: 64 << 20,
			IntroductionInterval: 30 * time.Second, IntroductionRate: 20, IntroductionBurst: 200,
		},
		Multicast: MulticastConfig{
			GroupsPerPeer: 1024, GatherMax: 64, GatherRate: 10, GatherBurst: 50,
		},
		Backup: BackupConfig{Every: time.Hour, KeepLast: 2, KeepHourly: 24, KeepDaily: 7, KeepWeekly: 5, KeepMonthly: 12},
	}
}

// AdminSocket returns the path of the admin socket.
func (c *Config) AdminSocket() string {
	if c.Admin.Socket != "" {
		return c.Admin.Socket
	}
	return filepath.Join(c.DataDir, "admin.sock")
}

// Workers returns how many sockets each listen address gets.
func (c *Config) Workers() int {
	if c.UDP.Workers > 0 {
		return c.UDP.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// ValidationWorkers returns how many goroutines validate identities.
func (c *Config) ValidationWorkers() int {
	if c.Limits.ValidationWorkers > 0 {
		return c.Limits.ValidationWorkers
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

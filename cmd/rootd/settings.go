package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/rootd/rootd/geo"
)

// setting is one row of [settings]: the only place where a setting is named and explained. The key is its path in the
// file; the flag is the same with dashes ("limits.hello_rate" is -limits-hello-rate).
type setting struct {
	key   string
	help  string           // one sentence; units included
	check func(any) string // says what is wrong with the value behind the pointer, "" if nothing
	field func(*Config) any
}

// settings lists every setting in the order of the documentation. A dotted key's first part is its section.
func settings() []setting {
	return []setting{
		{"data_dir", "Directory of the identity, the planet, its signing key and the log; created when missing.", notEmpty, func(c *Config) any { return &c.DataDir }},
		{"name", "Name of this member: letters, digits, dot and dash; empty takes the host name.", memberName, func(c *Config) any { return &c.Name }},
		{"listen", "UDP addresses to serve; several addresses, ports and both families are fine.", listenList, func(c *Config) any { return &c.Listen }},
		{"endpoints", "Public addresses of this member as they stand in the planet, in this order; empty guesses from the network interfaces.", endpointList, func(c *Config) any { return &c.Endpoints }},
		{"position", "Where this member is, in degrees north and east, such as 52.37,4.89; empty locates its endpoints.", position, func(c *Config) any { return &c.Position }},

		{"geo.database", "File of positions of addresses in the MaxMind City format (.mmdb); read again when it changes or on SIGHUP; empty for none.", nil, func(c *Config) any { return &c.Geo.Database }},
		{"geo.overrides", "Places of prefixes of addresses, such as \"10.0.0.0/8 52.37,4.89,25 Amsterdam, NL\" (the third number is the radius in km); they win over the cluster's (rootctl config) and the database's.", nil, func(c *Config) any { return &c.Geo.Overrides }},

		{"cluster.listen", "TCP and UDP address for the other members of a cluster, and for machines that join; \"off\" for none.", nil, func(c *Config) any { return &c.Cluster.Listen }},
		{"cluster.address", "Host and port at which other members reach this one; empty takes the listen address, or guesses from the network interfaces.", clusterAddress, func(c *Config) any { return &c.Cluster.Address }},

		{"admin.socket", "Unix socket for rootctl; empty is admin.sock in the data directory.", socketPath, func(c *Config) any { return &c.Admin.Socket }},
		{"http.listen", "TCP address of /metrics, /healthz and /readyz; empty or \"off\" for none.", nil, func(c *Config) any { return &c.HTTP.Listen }},
		{"log.level", "Least important level to log: debug, info, warn or error.", nil, func(c *Config) any { return &c.Log.Level }},
		{"log.format", "Form of a log line: text or json.", oneOf("text", "json"), func(c *Config) any { return &c.Log.Format }},

		{"udp.workers", "Sockets, each with its worker, per listen address; 0 is one per CPU.", between(0, 1024), func(c *Config) any { return &c.UDP.Workers }},
		{"udp.receive_buffer", "Receive buffer of a socket; the kernel may grant less.", between(64<<10, 1<<30), func(c *Config) any { return &c.UDP.ReceiveBuffer }},
		{"udp.send_buffer", "Send buffer of a socket; the kernel may grant less.", between(64<<10, 1<<30), func(c *Config) any { return &c.UDP.SendBuffer }},
		{"udp.offload", "Let datagrams that come in a row from one sender, or go to one destination, pass the kernel together (UDP_GRO, UDP_SEGMENT) where it can do that.", nil, func(c *Config) any { return &c.UDP.Offload }},

		{"crypto.aes", "Encrypt with AES-GMAC-SIV for clients whose HELLO allows it; it is understood either way, and all members must agree.", nil, func(c *Config) any { return &c.Crypto.AES }},

		{"peers.keep_warm", "Send a small ECHO to a peer whose path was silent this long, so that its NAT stays open; 0s never does.", durationOrZero("5s", "10m"), func(c *Config) any { return &c.Peers.KeepWarm }},
		{"peers.drain_at_stop", "Before it stops, hand peers off to other members for as long as this at most; 0s stops at once.", durationOrZero("1s", "10m"), func(c *Config) any { return &c.Peers.DrainAtStop }},
		{"peers.max_sessions", "Peers with a live session at this member; new ones beyond are refused until silent ones have expired.", between(1, 1<<30), func(c *Config) any { return &c.Peers.MaxSessions }},
		{"peers.huge_pages", "Ask the kernel for huge pages for the table of peers.", nil, func(c *Config) any { return &c.Peers.HugePages }},

		{"limits.new_identity_rate", "HELLOs of unknown identities looked at, per second and IPv4 /24 or IPv6 /48.", betweenRate(0.01, 1e6), func(c *Config) any { return &c.Limits.NewIdentityRate }},
		{"limits.new_identity_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Limits.NewIdentityBurst }},
		{"limits.rekey_rate", "Packets of known peers that are new to this member, each costing a key agreement, per second and IPv4 /24 or IPv6 /48.", betweenRate(0.1, 1e6), func(c *Config) any { return &c.Limits.RekeyRate }},
		{"limits.rekey_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Limits.RekeyBurst }},
		{"limits.validation_workers", "Goroutines that run the memory-hard validation of identities; 0 is half the CPUs.", between(0, 1024), func(c *Config) any { return &c.Limits.ValidationWorkers }},
		{"limits.validation_queue", "Identities that may wait for validation; beyond it new ones are dropped.", between(1, 1<<20), func(c *Config) any { return &c.Limits.ValidationQueue }},
		{"limits.hello_rate", "HELLOs answered, per second and client.", betweenRate(0.1, 1e6), func(c *Config) any { return &c.Limits.HelloRate }},
		{"limits.hello_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Limits.HelloBurst }},
		{"limits.whois_rate", "Addresses looked up by WHOIS, per second and client.", betweenRate(0.1, 1e6), func(c *Config) any { return &c.Limits.WhoisRate }},
		{"limits.whois_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Limits.WhoisBurst }},
		{"limits.echo_rate", "ECHOs answered, per second and client.", betweenRate(0.1, 1e6), func(c *Config) any { return &c.Limits.EchoRate }},
		{"limits.echo_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Limits.EchoBurst }},
		{"limits.planet_interval", "A newer planet is handed to one client at most this often.", durationBetween("1s", "1h"), func(c *Config) any { return &c.Limits.PlanetInterval }},

		{"relay.source_rate", "Bytes relayed from one peer, per second; 0 is no limit.", bytesOrZero(16<<10, 1<<40), func(c *Config) any { return &c.Relay.SourceRate }},
		{"relay.destination_rate", "Bytes relayed to one peer, per second; 0 is no limit.", bytesOrZero(16<<10, 1<<40), func(c *Config) any { return &c.Relay.DestinationRate }},
		{"relay.introduction_interval", "Introduce the same two peers (RENDEZVOUS) at most this often; 0s never does.", durationOrZero("1s", "1h"), func(c *Config) any { return &c.Relay.IntroductionInterval }},
		{"relay.introduction_rate", "Pairs introduced because one peer sent to another, per second and sender.", betweenRate(0.01, 1e6), func(c *Config) any { return &c.Relay.IntroductionRate }},
		{"relay.introduction_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Relay.IntroductionBurst }},

		{"multicast.groups_per_peer", "Multicast groups one peer may subscribe to.", between(1, 1<<20), func(c *Config) any { return &c.Multicast.GroupsPerPeer }},
		{"multicast.gather_max", "Members named in one answer to a GATHER.", between(1, 255), func(c *Config) any { return &c.Multicast.GatherMax }},
		{"multicast.gather_rate", "GATHERs answered, per second and client.", betweenRate(0.1, 1e6), func(c *Config) any { return &c.Multicast.GatherRate }},
		{"multicast.gather_burst", "Burst of the same.", between(1, 1e6), func(c *Config) any { return &c.Multicast.GatherBurst }},

		{"backup.store", "Where the leader puts backups: a directory (better on another disk or machine), or s3://BUCKET/PREFIX; empty makes none. Set the same at all members.", nil, func(c *Config) any { return &c.Backup.Store }},
		{"backup.every", "Time between backups.", durationBetween("1s", "168h"), func(c *Config) any { return &c.Backup.Every }},
		{"backup.max_age", "Say that something is wrong when the newest verified backup is older; 0s is three times backup.every.", durationOrZero("1s", "8760h"), func(c *Config) any { return &c.Backup.MaxAge }},
		{"backup.recipients", "Public keys of age (age1...), separated by commas, to which the secrets are sealed; empty leaves the secrets out.", nil, func(c *Config) any { return &c.Backup.Recipients }},
		{"backup.keep_last", "Newest backups that stay.", between(1, 1000), func(c *Config) any { return &c.Backup.KeepLast }},
		{"backup.keep_hourly", "Hours of which the newest backup stays.", between(0, 10000), func(c *Config) any { return &c.Backup.KeepHourly }},
		{"backup.keep_daily", "Days of which the newest backup stays.", between(0, 10000), func(c *Config) any { return &c.Backup.KeepDaily }},
		{"backup.keep_weekly", "Weeks of which the newest backup stays.", between(0, 10000), func(c *Config) any { return &c.Backup.KeepWeekly }},
		{"backup.keep_monthly", "Months of which the newest backup stays.", between(0, 10000), func(c *Config) any { return &c.Backup.KeepMonthly }},
		{"backup.s3_endpoint", "URL of the S3-compatible server of a store that begins with s3://, such as https://minio.example.net:9000.", nil, func(c *Config) any { return &c.Backup.S3Endpoint }},
		{"backup.s3_region", "Its region; empty asks it.", nil, func(c *Config) any { return &c.Backup.S3Region }},
		{"backup.s3_credentials", "File, readable by its owner alone, with the access key and the secret key, a line each; empty takes those of the environment or the machine.", nil, func(c *Config) any { return &c.Backup.S3Credentials }},

		{"planet.world_id", "World ID of the planet, up to 16 hexadecimal digits, used when the data directory is created; empty draws a random one.", worldID, func(c *Config) any { return &c.Planet.WorldID }},
	}
}

// flag is the name of the setting on the command line, without its dash.
func (s setting) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(s.key)
}

// section is the part of the key before the dot, "" at the top of the file.
func (s setting) section() string {
	section, _, ok := strings.Cut(s.key, ".")
	if !ok {
		return ""
	}
	return section
}

// sections explains each section of the file in one sentence.
func sections() map[string]string {
	return map[string]string{
		"":          "Who this member is and where it is reached.",
		"geo":       "Where on the Earth peers are. What nothing knows is steered by measured round trips and load alone.",
		"cluster":   "How members reach each other: TLS with certificates of the cluster's own authority; nothing else is answered.",
		"admin":     "The socket that rootctl talks to. Its owner may do everything.",
		"http":      "Metrics for Prometheus and health for load balancers and monitors.",
		"log":       "The log goes to standard error.",
		"udp":       "Sockets and the workers that own them.",
		"crypto":    "Cipher suites.",
		"peers":     "How many peers are remembered, and for how long.",
		"limits":    "What one client can make this member do. Each limit that is hit counts in a metric.",
		"relay":     "Packets passed on between peers that have no direct path.",
		"multicast": "Who subscribes to which multicast group: kept in memory only.",
		"backup":    "Archives of the cluster that its leader makes by itself, verifies where they are, and removes by age.",
		"planet":    "Used once, when the data directory is created.",
	}
}

// writeUsage is the text of rootd -help.
func writeUsage(w io.Writer) {
	c := DefaultConfig()
	var b strings.Builder
	b.WriteString(`rootd is a ZeroTier root server.

Usage: rootd [-config FILE] [flags]

  -config FILE
	Read settings from a TOML file. Flags win over the file.
  -check
	Check the configuration, print what is wrong, and exit.
  -version
	Print the version and exit.

Without a configuration and with an empty data directory rootd makes itself an identity, a planet and its signing key.

Settings (in the file: the key in brackets):

`)
	for _, s := range settings() {
		p := s.field(&c)
		fmt.Fprintf(&b, "  -%s %s\n\t%s\n\t[%s", s.flag(), strings.ToUpper(placeholder(p)), s.help, s.key)
		if v := text(p); v != "" {
			fmt.Fprintf(&b, ", default %s", v)
		}
		b.WriteString("]\n")
	}
	_, _ = io.WriteString(w, b.String()) // nowhere to report that the terminal is gone
}

func placeholder(p any) string {
	switch p.(type) {
	case *bool:
		return "bool"
	case *netip.AddrPort:
		return "addr:port"
	case *[]netip.AddrPort:
		return "addr:port,..."
	case *[]geo.Override:
		return "prefix place;..."
	case *uint64:
		return "hex"
	}
	return kind(p)
}

// writeExample writes the documented example file: every setting, commented out, with its default.
func writeExample(w io.Writer) error {
	c := DefaultConfig()
	var b strings.Builder
	b.WriteString("# Configuration of rootd: every setting with its default. Remove the # where you want another value.\n" +
		"# Check with: rootd -check -config FILE. Generated from the table of settings; unknown keys are refused.\n")
	last := "?"
	for _, s := range settings() {
		if s.section() != last {
			last = s.section()
			fmt.Fprintf(&b, "\n# %s\n", sections()[last])
			if last != "" {
				fmt.Fprintf(&b, "[%s]\n", last)
			}
		}
		_, name, ok := strings.Cut(s.key, ".")
		if !ok {
			name = s.key
		}
		fmt.Fprintf(&b, "\n# %s\n#%s = %s\n", s.help, name, textTOML(s.field(&c)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeReference writes the tables of docs/configuration.md.
func writeReference(w io.Writer) error {
	c := DefaultConfig()
	var b strings.Builder
	last := "?"
	for _, s := range settings() {
		if s.section() != last {
			last = s.section()
			title := "[" + last + "]"
			if last == "" {
				title = "Top of the file"
			}
			fmt.Fprintf(&b, "\n### %s\n%s\n\n| key | flag | type | default | meaning |\n|---|---|---|---|---|\n", title, sections()[last])
		}
		p := s.field(&c)
		fmt.Fprintf(&b, "| `%s` | `-%s` | %s | `%s` | %s |\n", s.key, s.flag(), kind(p), textTOML(p), s.help)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

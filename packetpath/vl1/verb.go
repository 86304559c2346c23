package vl1

import "fmt"

// Verb says what message a packet carries: the low five bits of byte 27.
type Verb byte

// The verbs. Payloads are drawn at the types of the messages.
const (
	VerbNop                  Verb = 0x00 // nothing; a sign of life
	VerbHello                Verb = 0x01 // see Hello
	VerbError                Verb = 0x02 // see ErrorMessage
	VerbOK                   Verb = 0x03 // see DecodeOK
	VerbWhois                Verb = 0x04 // addresses of 5 bytes
	VerbRendezvous           Verb = 0x05 // see Rendezvous
	VerbFrame                Verb = 0x06 // see Frame
	VerbExtFrame             Verb = 0x07 // between clients
	VerbEcho                 Verb = 0x08 // any bytes, to be sent back
	VerbMulticastLike        Verb = 0x09 // groups of 18 bytes, see Group
	VerbNetworkCredentials   Verb = 0x0a // between clients
	VerbNetworkConfigRequest Verb = 0x0b // see NetworkConfigRequest
	VerbNetworkConfig        Verb = 0x0c // from controllers
	VerbMulticastGather      Verb = 0x0d // see Gather
	VerbMulticastFrame       Verb = 0x0e // between clients
	VerbPushDirectPaths      Verb = 0x10 // see DirectPath
	VerbAck                  Verb = 0x12 // between clients
	VerbQoSMeasurement       Verb = 0x13 // between clients
	VerbUserMessage          Verb = 0x14 // between clients
	VerbRemoteTrace          Verb = 0x15 // between clients
	VerbPathNegotiation      Verb = 0x16 // between clients
)

// NumVerbs is the number of values a verb can have, for counters per verb.
const NumVerbs = 0x20

// String returns the verb's name in capitals, or its number if it has none.
func (v Verb) String() string {
	switch v {
	case VerbNop:
		return "NOP"
	case VerbHello:
		return "HELLO"
	case VerbError:
		return "ERROR"
	case VerbOK:
		return "OK"
	case VerbWhois:
		return "WHOIS"
	case VerbRendezvous:
		return "RENDEZVOUS"
	case VerbFrame:
		return "FRAME"
	case VerbExtFrame:
		return "EXT_FRAME"
	case VerbEcho:
		return "ECHO"
	case VerbMulticastLike:
		return "MULTICAST_LIKE"
	case VerbNetworkCredentials:
		return "NETWORK_CREDENTIALS"
	case VerbNetworkConfigRequest:
		return "NETWORK_CONFIG_REQUEST"
	case VerbNetworkConfig:
		return "NETWORK_CONFIG"
	case VerbMulticastGather:
		return "MULTICAST_GATHER"
	case VerbMulticastFrame:
		return "MULTICAST_FRAME"
	case VerbPushDirectPaths:
		return "PUSH_DIRECT_PATHS"
	case VerbAck:
		return "ACK"
	case VerbQoSMeasurement:
		return "QOS_MEASUREMENT"
	case VerbUserMessage:
		return "USER_MESSAGE"
	case VerbRemoteTrace:
		return "REMOTE_TRACE"
	case VerbPathNegotiation:
		return "PATH_NEGOTIATION_REQUEST"
	}
	return fmt.Sprintf("VERB_0x%02x", byte(v))
}

// Suite says how a packet is authenticated and encrypted: bits 3 to 5 of byte 18.
type Suite byte

// The cipher suites.
const (
	SuitePoly1305 Suite = 0 // Poly1305 only, for HELLO
	SuiteSalsa    Suite = 1 // Salsa20/12 and Poly1305
	SuiteNone     Suite = 2 // trusted path, without cryptography: always refused
	SuiteAES      Suite = 3 // AES-GMAC-SIV, for peers with protocol >= 12
)

// String returns the suite's name.
func (s Suite) String() string {
	switch s {
	case SuitePoly1305:
		return "poly1305"
	case SuiteSalsa:
		return "salsa20-12-poly1305"
	case SuiteNone:
		return "none"
	case SuiteAES:
		return "aes-gmac-siv"
	}
	return fmt.Sprintf("suite-%d", byte(s))
}

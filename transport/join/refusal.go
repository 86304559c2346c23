package join

// Code is why a machine may not join, for programs. Values are never reused.
type Code string

// Codes of a [Refusal].
const (
	CodeToken        Code = "token"         // unknown, revoked, or its secret is wrong: which of these is not told
	CodeTokenExpired Code = "token_expired" // its time is over
	CodeTokenUsed    Code = "token_used"    // by a machine with another node key
	CodeCluster      Code = "cluster"       // the cluster is not the one that the token, or the data directory, is of
	CodeVersion      Code = "version"       // the machine's software is too old or too new for the members'
	CodeClock        Code = "clock"         // the machine's and the member's differ by more than [MaxClockSkew]
	CodeName         Code = "name"          // another member has it, or it cannot be one
	CodeAddress      Code = "address"       // the same of the cluster address
	CodeEndpoint     Code = "endpoint"      // the same of a public endpoint
	CodeUnreachable  Code = "unreachable"   // members did not reach a public endpoint, or the cluster address
	CodeRemoved      Code = "removed"       // the machine's node key is that of a member that was removed
	CodeUnavailable  Code = "unavailable"   // not now, such as without a leader: try again
	CodeInternal     Code = "internal"      // the member could not do what it had to; its log says why
	CodeRequest      Code = "request"       // the request makes no sense
)

// Refusal is why a machine may not join, and the way out. It crosses the wire.
type Refusal struct {
	Code Code   `json:"code"`
	Why  string `json:"why"`            // what was found
	Way  string `json:"hint,omitempty"` // out; may be empty
	// Forceable: the machine may join all the same, if its operator says so.
	Forceable bool `json:"forceable,omitempty"`
	// Known: the log has a member with this machine's key, so that the key must be kept whatever stands against this request.
	Known bool `json:"known,omitempty"`

	cause  error // at this end; nil: a member refused
	local  bool  // found at this end; another member may answer better
	unsure bool  // a member that was asked before may have admitted this machine
}

// Error returns the reason. The hint is printed apart.
func (r *Refusal) Error() string { return r.Why }

// Hint returns the way out, "" if none is known.
func (r *Refusal) Hint() string { return r.Way }

// Final reports whether a member refused for good, before anything was written to the log: to try the same again would not
// help, and nothing was promised to this machine's key.
func (r *Refusal) Final() bool {
	return !r.local && !r.unsure && !r.Known && r.Code != CodeUnavailable && r.Code != CodeInternal
}

// Unwrap returns what went wrong at this end, nil if a member refused.
func (r *Refusal) Unwrap() error { return r.cause }

// Is makes refusals with the same code match, so that errors.Is(err, &Refusal{Code: CodeClock}) asks for it.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code && t.Why == "" && t.Way == ""
}

package api

import (
	"context"
	"io"
)

// Backend is what the server calls; cluster.Node implements it. Methods may be called from many goroutines at once. A method
// returns an *Error for anything an operator can cause or mend; any other error is reported as CodeInternal. When it returns an
// error, nothing was changed. Requests were validated (Validate) before. ctx ends when the client goes away or its time is up.
//
// Except for Version, Init, Join, Status and Doctor, an unconfigured node answers CodeUnconfigured.
type Backend interface {
	Version(ctx context.Context) (Version, error)

	// Init makes this node the first of a new cluster and returns when it leads and its groups are recorded.
	Init(ctx context.Context, r InitRequest) (InitAnswer, error)
	// Join makes this node a member and returns when it has caught up.
	Join(ctx context.Context, r JoinRequest) (JoinAnswer, error)
	// CreateToken makes a one-use join token.
	CreateToken(ctx context.Context, r TokenRequest) (Token, error)

	// Status never fails for reasons of the cluster: it tells them. It must answer within a second whatever is broken.
	Status(ctx context.Context) (Status, error)
	Doctor(ctx context.Context) ([]Check, error)

	ListNodes(ctx context.Context) ([]Node, error)
	// RemoveNode removes a dead member for good. node is its name or UUID.
	RemoveNode(ctx context.Context, node string, r RemoveNodeRequest) error
	// Recover makes this node the only one of its cluster when the majority is lost for good. It refuses while anything is heard of
	// the others, or when r does not name them all.
	Recover(ctx context.Context, r RecoverRequest) error
	// SetDraining moves every group away from the node (name, UUID, or "" for this one) and keeps it from owning, or ends that.
	SetDraining(ctx context.Context, node string, draining bool) error
	// FinishUpgrade raises the cluster's feature level to the highest that any node's release knows; refused unless all know it.
	FinishUpgrade(ctx context.Context) (Upgrade, error)
	// Leave drains this node, removes it from the cluster and forgets its identity.
	Leave(ctx context.Context, r LeaveRequest) (LeaveAnswer, error)

	ListVIPs(ctx context.Context) ([]Group, error)
	AddVIP(ctx context.Context, r GroupSpec) (Group, error)
	// RemoveVIP and MoveVIP name a group by its name, its number or one of its addresses.
	RemoveVIP(ctx context.Context, group string) error
	MoveVIP(ctx context.Context, group string, r MoveRequest) (Group, error)

	ListDomains(ctx context.Context) ([]Domain, error)
	AddDomain(ctx context.Context, d Domain) error
	RemoveDomain(ctx context.Context, name string) error
	AddAlias(ctx context.Context, domain, alias string) error
	RemoveAlias(ctx context.Context, domain, alias string) error

	ListCertificates(ctx context.Context) ([]Certificate, error)
	PutCertificate(ctx context.Context, domain string, r CertificateRequest) error
	RemoveCertificate(ctx context.Context, domain string) error

	ListUsers(ctx context.Context, f UserFilter) ([]User, error)
	AddUser(ctx context.Context, r UserRequest) error
	SetPassword(ctx context.Context, r UserRequest) error
	ChangeUser(ctx context.Context, aor string, c UserChange) error
	RemoveUser(ctx context.Context, aor string) error

	ListPools(ctx context.Context) ([]Pool, error)
	// AddPool makes an empty pool; Members of p are ignored.
	AddPool(ctx context.Context, p Pool) error
	RemovePool(ctx context.Context, name string) error
	AddMember(ctx context.Context, pool string, m Member) error
	SetMember(ctx context.Context, pool, member string, c MemberChange) error
	RemoveMember(ctx context.Context, pool, member string) error

	ListRoutes(ctx context.Context) ([]Route, error)
	AddRoute(ctx context.Context, r Route) error
	RemoveRoute(ctx context.Context, domain, prefix string) error

	ListCalls(ctx context.Context, f CallFilter) (Calls, error)
	// EndCall has a call ended, whichever node owns it. It returns when that is on record: BYE or CANCEL go out within about a second, and the call is over when they
	// are answered, or have timed out.
	EndCall(ctx context.Context, number uint64) error
	ListRegistrations(ctx context.Context, f RegistrationFilter) (Registrations, error)

	// ListRefused is about this node alone: the requests that it has refused lately.
	ListRefused(ctx context.Context, f RefusalFilter) (Refused, error)

	CountCalls(ctx context.Context) (CallCounts, error)
	ListCDRs(ctx context.Context, f CDRFilter) (CDRs, error)
	// AcknowledgeCDRs moves a consumer's cursor forward, and makes the consumer if there is none of this name.
	AcknowledgeCDRs(ctx context.Context, consumer string, upTo uint64) error
	RemoveCDRConsumer(ctx context.Context, consumer string) error

	// ListSettings returns every known setting with its value, default and meaning.
	ListSettings(ctx context.Context) ([]Setting, error)
	SetSetting(ctx context.Context, name, value string) error

	// Backup writes a snapshot of the replicated state. An error after the first byte breaks the answer off.
	Backup(ctx context.Context, w io.Writer) error
	// Restore puts the domains, users, pools, routes and settings of a backup in the place of the cluster's own; nodes, VIP groups and
	// keys stay. Raft leader only.
	Restore(ctx context.Context, r io.Reader, q RestoreRequest) (RestoreAnswer, error)

	// Live is nil as long as the process can do its work at all, Ready when it can take calls (or, unconfigured, init or join).
	Live(ctx context.Context) error
	Ready(ctx context.Context) error
}

import Synchronization

/// What a pool has learnt about what stands at its address. Neither is ever unlearnt: both work everywhere.
final class ServerTraits: Sendable {
    /// Whether a session keeps a statement under the name that it was given. A pooler in transaction mode gives each
    /// transaction whichever session is free, and not every version carries names over.
    let keepsPreparedStatements = Atomic(true)
    /// Whether settings may be given at the begin of a session; PgBouncer refuses them unless it is told to ignore them.
    let takesOptions = Atomic(true)
}

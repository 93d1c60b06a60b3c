import ChatCore

/// How many places of a node one orchestrator may use beside the others. Pure.
///
/// Each has its share; what a peer has no use for is lent. A peer that gets turns takes its share back as the lent places
/// become free: nobody is interrupted, and nobody waits longer than one turn takes. What is known of a peer is a moment
/// old, so loans begin small: two that believe each other idle do not both take everything.
struct PlaceShare {
    /// What another orchestrator has at the node, and how many turns wait there.
    struct Peer {
        let id: String
        let used: Int
        let waiting: Int
    }

    let places: Int
    let own: String
    let peers: [Peer]

    /// The places that this orchestrator may use at most; at least 1.
    var limit: Int {
        let claims = peers.reduce(0) { sum, peer in
            sum + max(peer.used, min(share(of: peer.id), peer.used + peer.waiting))
        }
        return max(share(of: own), places - claims)
    }

    var ownShare: Int { share(of: own) }

    /// By how much loans may grow from one look at the peers to the next.
    var loanStep: Int { max(1, places / (4 * (peers.count + 1))) }

    /// Whether one more turn may be sent, with `used` of them there already and `loan` places beyond the own share.
    func mayTake(used: Int, loan: Int, reserve: Int = 0) -> Bool {
        guard used < min(limit, ownShare + loan) else { return false }
        let all = peers.reduce(used) { $0 + $1.used }
        if all + reserve < places { return true }
        // Lent places come back one after the other, and the node's own queue is not fair: it takes one turn of an
        // orchestrator that has none there, and no more.
        return used == 0 && reserve == 0
    }

    /// Places that batch turns leave free for turns that somebody sits in front of.
    var reserve: Int { places > 1 ? (places + 7) / 8 : 0 }

    private func share(of id: String) -> Int {
        let count = peers.count + 1
        let rank = peers.count { $0.id < id } + (id > own ? 1 : 0)
        return max(1, places / count + (rank < places % count ? 1 : 0))
    }
}

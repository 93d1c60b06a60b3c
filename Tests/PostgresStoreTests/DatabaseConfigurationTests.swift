import PostgresStore
import Testing

@Suite struct DatabaseConfigurationTests {
    private func names(_ list: String) throws -> [String] {
        try DatabaseConfiguration(shards: list, poolSize: 1).shards.map(\.name)
    }

    @Test func listsAreReadWithAndWithoutNames() throws {
        let uri = "postgresql://u:p@127.0.0.1:5432/db"
        #expect(try names(uri) == ["shard0"])
        #expect(try names("\(uri), \(uri)?sslmode=disable ,") == ["shard0", "shard1"])
        #expect(try names("east=\(uri),west-2=postgres://u@h/db?connect_timeout=3") == ["east", "west-2"])
        // A URI may list several hosts.
        #expect(try names("postgresql://u:p@h1:1,h2:2/db,\(uri)") == ["shard0", "shard1"])
    }

    @Test(arguments: [
        "", " , ", "localhost", "mysql://u@h/db", "postgresql://u:secret@h:notaport/db?nonsense=1",
        "postgresql://u:secret@[::1/db", "a b=postgresql://u:secret@h/db", "=postgresql://u:secret@h/db",
        "x=postgresql://u:secret@h/db,x=postgresql://u:secret@h/db",
        "shard1=postgresql://u:secret@h/db,postgresql://u:secret@h/db",
    ])
    func badListsAreRefusedWithoutTheirText(_ list: String) async throws {
        let error = try #require(await failure { try names(list) })
        guard case .badConfiguration(let reason) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(reason.contains("DATABASE_SHARDS"))
        #expect(!reason.contains("secret"))
    }

    @Test func nothingPrintsAPassword() throws {
        let configuration = try DatabaseConfiguration(
            shards: "postgresql://u:secret@h/db", replicas: "postgresql://u:secret@h/db", poolSize: 1)
        var dumped = ""
        dump(configuration, to: &dumped)
        #expect(!dumped.contains("secret") && !"\(configuration)".contains("secret"))
        #expect(!String(reflecting: configuration).contains("secret"))
    }

    @Test func boundsAreChecked() async throws {
        for size in [0, -1, DatabaseConfiguration.maximumPoolSize + 1] {
            #expect(throws: DatabaseError.self) {
                try DatabaseConfiguration(shards: "postgresql://u@h/db", poolSize: size)
            }
        }
    }
}

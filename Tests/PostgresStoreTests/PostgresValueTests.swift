import ChatCore
import PostgresStore
import Testing

@Suite(.timeLimit(.minutes(2))) struct PostgresValueTests {
    @Test func everyTypeComesBackAsItWasBound() async throws {
        try await withDatabase(migrated: false) { database in
            let rows = try await database.directory.query(
                """
                SELECT $1::boolean AS b, $2::bigint AS i, $3::double precision AS d, $4::text AS t, $5::bytea AS y,
                    $6::uuid AS u, $7::timestamptz AS ts, $2::bigint::integer AS i4, (-5)::smallint AS i2,
                    1.5::real AS f4, 'x'::name AS n, 'y'::varchar AS v
                """,
                [
                    .boolean(true), .integer(-2_000_000_000), .double(-0.1), .text("a'b\"; DROP TABLE users; -- ü 👩‍👩‍👧"),
                    .bytes([0, 255, 10]), .turn(.test(3)), .timestamp(-1),
                ])
            let row = try #require(rows.first)
            #expect(try row.value("b") == true)
            #expect(try row.value("i") == Int64(-2_000_000_000))
            #expect(try row.value("d") == -0.1)
            #expect(try row.value("t") == "a'b\"; DROP TABLE users; -- ü 👩‍👩‍👧")
            #expect(try row.value("y") == [UInt8]([0, 255, 10]))
            #expect(try row.value("u") == TurnID.test(3))
            #expect(try row.value("ts", as: UnixMilliseconds.self).value == -1)
            #expect(try row.value("i4") == Int64(-2_000_000_000))
            #expect(try row.value("i2") == Int64(-5))
            #expect(try row.value("f4") == 1.5)
            #expect(try row.value("n") == "x")
            #expect(try row.value("v") == "y")
        }
    }

    @Test func extremesComeBack() async throws {
        try await withDatabase(migrated: false) { database in
            for number in [Int64.min, -1, 0, 1, .max] {
                let row = try #require(try await database.directory.query("SELECT $1 AS v", [.integer(number)]).first)
                #expect(try row.value("v") == number)
            }
            for time in [Int64(0), testEpoch, 253_402_300_799_999, -62_135_596_800_000] {
                let row = try #require(try await database.directory.query("SELECT $1 AS v", [.timestamp(time)]).first)
                #expect(try row.value("v", as: UnixMilliseconds.self).value == time)
            }
            for text in ["", String(repeating: "é", count: 1 << 20)] {
                let row = try #require(try await database.directory.query("SELECT $1 AS v", [.text(text)]).first)
                #expect(try row.value("v") == text)
            }
            let empty = try #require(try await database.directory.query("SELECT $1 AS v", [.bytes([])]).first)
            #expect(try empty.value("v") == [UInt8]())
        }
    }

    @Test func nullsAreNullsOfTheirTypes() async throws {
        try await withDatabase(migrated: false) { database in
            let values: [PostgresValue] = [
                .boolean(nil), .integer(nil), .double(nil), .text(nil), .bytes(nil), .turn(nil), .timestamp(nil),
            ]
            for value in values {
                let row = try #require(
                    try await database.directory.query("SELECT $1 AS v, $1 IS NULL AS is_null", [value]).first)
                #expect(try row.value("is_null") == true)
            }
            let row = try #require(try await database.directory.query("SELECT $1 AS v", [.text(nil)]).first)
            #expect(try row.optional("v", as: String.self) == nil)
            #expect(await failure { try row.value("v", as: String.self) } == .decoding(column: "v", reason: "null"))
        }
    }

    @Test func arraysArriveElementByElement() async throws {
        try await withDatabase(migrated: false) { database in
            let rows = try await database.directory.query(
                """
                SELECT * FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY AS o (b, i, t, y, u, ts, n) ORDER BY n
                """,
                [
                    .booleans([true, false]), .integers([.min, nil]), .texts([nil, "{\"a\",NULL}"]),
                    .byteStrings([[], [0, 1]]), .turns([.test(1), .test(2)]), .timestamps([testEpoch, nil]),
                ])
            #expect(rows.count == 2)
            #expect(try rows.map { try $0.value("b", as: Bool.self) } == [true, false])
            #expect(try rows.map { try $0.optional("i", as: Int64.self) } == [.min, nil])
            #expect(try rows.map { try $0.optional("t", as: String.self) } == [nil, "{\"a\",NULL}"])
            #expect(try rows.map { try $0.value("y", as: [UInt8].self) } == [[], [0, 1]])
            #expect(try rows.map { try $0.value("u", as: TurnID.self) } == [.test(1), .test(2)])
            #expect(try rows.map { try $0.optional("ts", as: UnixMilliseconds.self)?.value } == [testEpoch, nil])
            #expect(try await database.directory.query("SELECT unnest($1) AS v", [.texts([])]).isEmpty)
        }
    }

    @Test func aColumnOfAnotherTypeIsATypedError() async throws {
        try await withDatabase(migrated: false) { database in
            let row = try #require(try await database.directory.query("SELECT 1.5::numeric AS v").first)
            guard case .decoding(column: "v", _)? = await failure({ try row.value("v", as: Int64.self) }) else {
                Issue.record("no decoding error")
                return
            }
            #expect(
                await failure { try row.value("w", as: Int64.self) } == .decoding(column: "w", reason: "no such column")
            )
        }
    }
}

/// Writes commands as RESP arrays of bulk strings, the form in which every byte may stand in an argument.
enum CommandEncoder {
    static func append(_ command: String, _ arguments: [RedisArgument], to bytes: inout [UInt8]) {
        header(UInt8(ascii: "*"), arguments.count + 1, &bytes)
        bulk(command.utf8, &bytes)
        for argument in arguments {
            switch argument {
            case .text(let text): bulk(text.utf8, &bytes)
            case .bytes(let data): bulk(data, &bytes)
            case .integer(let number): bulk(String(number).utf8, &bytes)
            }
        }
    }

    private static func bulk(_ data: some Collection<UInt8>, _ bytes: inout [UInt8]) {
        header(UInt8(ascii: "$"), data.count, &bytes)
        bytes.append(contentsOf: data)
        newLine(&bytes)
    }

    private static func header(_ kind: UInt8, _ count: Int, _ bytes: inout [UInt8]) {
        bytes.append(kind)
        bytes.append(contentsOf: String(count).utf8)
        newLine(&bytes)
    }

    private static func newLine(_ bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }
}

/// Why a command came to nothing although it was called rightly: said without the usage, which would not help.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

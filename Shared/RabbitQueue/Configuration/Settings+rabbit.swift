import ServiceKit

extension Settings {
    /// The broker as the environment says.
    /// - Parameter client: the connection's name in the broker's own listings.
    public func rabbit(client: String) throws(SettingsError) -> RabbitConfiguration {
        let uri = try self(Settings.rabbitURI)
        do throws(RabbitError) {
            var configuration = try RabbitConfiguration(uri: uri)
            configuration.clientName = client
            return configuration
        } catch {
            throw SettingsError(problems: ["RABBITMQ_URI: \(error)"])
        }
    }
}

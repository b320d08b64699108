//! The store: one shared connection, made again when it breaks, and never waited for longer than a second.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult};

const PATIENCE: Duration = Duration::from_millis(900);
const VISITS: &str = "shop:visits";

pub struct Store {
    connection: ConnectionManager,
}

impl Store {
    /// Names the store without calling it: the service starts, alive but not ready, before its store does.
    pub fn new(address: &str, password: Option<String>) -> RedisResult<Self> {
        let mut info = format!("redis://{address}/").into_connection_info()?;
        if let Some(password) = password {
            info = info.set_redis_settings(RedisConnectionInfo::default().set_password(password));
        }
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_lazy_with_config(Client::open(info)?, config)?;
        Ok(Self { connection })
    }

    pub async fn count_visit(&self) -> Result<i64, RedisError> {
        self.connection.clone().incr(VISITS, 1).await
    }

    pub async fn ping(&self) -> Result<(), RedisError> {
        self.connection.clone().ping::<String>().await.map(|_| ())
    }
}
